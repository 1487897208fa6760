// SPDX-License-Identifier: GPL-2.0
/*
 * Run random inputs, and inputs from files. Needs no libFuzzer.
 *   heap-random OPERATIONS [SEED] [FILE]...
 */
#include <signal.h>
#include <time.h>

#include "heap_fuzz.h"

#define INPUT_MAX	16384u

static u64 buf[INPUT_MAX / 8], seed;
static u32 size;

/* Save the input that failed, for the corpus and for a debugger */
static void keep(int sig)
{
	char name[64];
	FILE *f;

	snprintf(name, sizeof(name), "crash-seed-%llu", seed);
	f = fopen(name, "wb");
	if (!f)
		return;
	fwrite(buf, 1, size, f);
	fclose(f);
	fprintf(stderr, "the input is in %s\n", name);
}

static void run_file(const char *name)
{
	static u8 bytes[1 << 20];
	FILE *f = fopen(name, "rb");

	if (!f)
		shim_die("cannot read %s", name);
	fuzz_one(bytes, fread(bytes, 1, sizeof(bytes), f));
	fclose(f);
}

int main(int argc, char **argv)
{
	unsigned long long want = argc > 1 ? strtoull(argv[1], NULL, 0) : 1000000;
	struct timespec begin, end;
	double seconds;
	int arg;
	u64 x;
	u32 i;

	seed = argc > 2 ? strtoull(argv[2], NULL, 0) : 1;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	for (arg = 3; arg < argc; arg++)
		run_file(argv[arg]);
	signal(SIGABRT, keep);
	for (; fuzz_ops < want; seed++) {
		/* splitmix64, so that the seed reproduces a failure */
		for (i = 0; i < INPUT_MAX / 8; i++) {
			x = (seed << 16 | i) * 0x9e3779b97f4a7c15ull;
			x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
			x = (x ^ x >> 27) * 0x94d049bb133111ebull;
			buf[i] = x ^ x >> 31;
		}
		size = 64 + buf[1] % (INPUT_MAX - 64);
		fuzz_one((u8 *)buf, size);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	seconds = end.tv_sec - begin.tv_sec + (end.tv_nsec - begin.tv_nsec) / 1e9;
	printf("%llu operations, %.0f per second\n", fuzz_ops, fuzz_ops / seconds);
	return 0;
}
