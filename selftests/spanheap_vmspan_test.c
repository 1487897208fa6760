// SPDX-License-Identifier: GPL-2.0
#include "vmalloc_driver.h"
