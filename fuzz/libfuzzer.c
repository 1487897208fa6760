// SPDX-License-Identifier: GPL-2.0
/* Run the inputs of libFuzzer */
#include "heap_fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void say(void)
{
	printf("%llu operations\n", fuzz_ops);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool begun;

	if (!begun)
		atexit(say);
	begun = true;
	fuzz_one(data, size);
	return 0;
}
