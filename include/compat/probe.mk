# SPDX-License-Identifier: GPL-2.0
# Find in the kernel's headers which form of an interface the kernel has. The version
# is not enough, because stable kernels get backports. Each probe looks for the new and
# for the old form. If it finds neither or both, the header that uses the result refuses
# to build, so a third form in a newer kernel is never taken for the old one. srctree is
# the kernel's source also when a module is built (the common part, if a distribution
# splits its headers).

# $(call spanheap-probe,NAME,header,new form,old form): SPANHEAP_NEW_NAME, SPANHEAP_OLD_NAME
spanheap-probe = $(call spanheap-grep,NEW_$1,$2,$3) $(call spanheap-grep,OLD_$1,$2,$4)
spanheap-grep = $(if $(shell grep -E '$3' $(srctree)/include/linux/$2),-DSPANHEAP_$1)

spanheap-flags := \
	$(call spanheap-probe,SHRINKER,shrinker.h,\<shrinker_alloc\>,\<register_shrinker\>) \
	$(call spanheap-probe,BULK,gfp.h,\<alloc_pages_bulk\>,\<alloc_pages_bulk_array\>) \
	$(call spanheap-probe,RECLAIM,swap.h,\<mm_account_reclaimed_pages\>,\<reclaimed_slab\>) \
	$(call spanheap-grep,NEW_VMFLAGS,mm.h,static inline void vm_flags_set\>) \
	$(call spanheap-grep,OLD_VMFLAGS,mm_types.h,unsigned long vm_flags;.*see mm\.h) \
	$(call spanheap-probe,DISK,blkdev.h,define blk_alloc_disk.lim\>,define blk_alloc_disk.node) \
	$(call spanheap-probe,KVREALLOC,slab.h,define kvrealloc\>,extern void .kvrealloc\>) \
	$(call spanheap-grep,NEW_KVFREE_ATOMIC,slab.h,void kvfree_atomic\>)
