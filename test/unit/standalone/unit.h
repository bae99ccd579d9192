/*
 * unit.h
 *	  What the programs of test/unit/ and test/fuzz/ share: random numbers that
 *	  a seed repeats, and checks that end the program.
 */
#ifndef UNIT_H
#define UNIT_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/core.h"

#define COUNT(array)	((int) (sizeof(array) / sizeof((array)[0])))

/*
 * The seed: the program's first argument, METER_SEED, or the time.  It is
 * printed, and random numbers start from it.
 */
extern uint64 unit_seed(int argc, char **argv);

/* Random numbers start from there. */
extern void random_from(uint64 seed);

/* A number. */
extern uint64 random_number(void);

/* A number below the limit. */
extern int	below(int limit);

/* Where the program is, and, if set, what shows more; for check(). */
extern long history;
extern void (*show_case) (void);

/* Bytes that palloc has given out, now and at most since it was set. */
extern size_t memory_in_use;
extern size_t memory_peak;

/* Stop with what is wrong. */
extern void check(bool condition, const char *promise);

/* A copy of its own, so that a read past the end is seen. */
extern uint8 *copy(const uint8 *bytes, size_t length);

#endif
