/* SPDX-License-Identifier: GPL-2.0 */
/*
 * User-Mode Linux orders memory between its CPUs with lfence, sfence and mfence, as
 * one must with devices. A kernel on x86 itself needs none of them between CPUs, and
 * whoever uses smp_rmb() pays for it here only. So the benchmark's User-Mode Linux is
 * built with the SMP barriers of arch/x86/include/asm/barrier.h: it runs on that CPU.
 * Included before everything else.
 */
#if defined(__x86_64__) && !defined(__ASSEMBLY__) && !defined(__ASSEMBLER__)
static inline void bench_smp_mb(void)
{
	asm volatile("lock addl $0,-4(%%rsp)" ::: "memory", "cc");
}

#define __smp_mb()	bench_smp_mb()
#define __smp_rmb()	barrier()
#define __smp_wmb()	barrier()
#define __smp_store_mb(var, value) ((void)xchg(&(var), value))
#define __smp_mb__before_atomic()	do { } while (0)
#define __smp_mb__after_atomic()	do { } while (0)
#define __smp_store_release(p, v) do { barrier(); WRITE_ONCE(*(p), v); } while (0)
#define __smp_load_acquire(p) ({		\
	const typeof(p) ___at = (p);		\
	typeof(*___at) ___v = READ_ONCE(*___at);	\
	barrier();				\
	___v;					\
})
#endif
