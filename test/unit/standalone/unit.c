/*
 * unit.c
 *	  What the programs of test/unit/ and test/fuzz/ share.
 */
#include "unit.h"

#include <time.h>

long		history;
void		(*show_case) (void);

static uint64 random_state;

uint64
unit_seed(int argc, char **argv)
{
	const char *given = argc > 1 ? argv[1] : getenv("METER_SEED");
	uint64		seed = given != NULL ? strtoull(given, NULL, 10) :
	(uint64) time(NULL);

	printf("METER_SEED=%llu\n", (unsigned long long) seed);
	fflush(stdout);
	random_from(seed);
	return seed;
}

void
random_from(uint64 seed)
{
	random_state = seed;
}

/* splitmix64 */
uint64
random_number(void)
{
	uint64		z = (random_state += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

int
below(int limit)
{
	return (int) (random_number() % (uint64) limit);
}

void
check(bool condition, const char *promise)
{
	if (!condition)
	{
		printf("history %ld: %s: no\n", history, promise);
		if (show_case != NULL)
			show_case();
		fflush(stdout);
		exit(1);
	}
}

uint8 *
copy(const uint8 *bytes, size_t length)
{
	return memcpy(palloc(length), bytes, length);
}
