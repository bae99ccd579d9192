/*
 * problem.h
 *	  What is wrong with a text, and where.
 */
#ifndef METER_PROBLEM_H
#define METER_PROBLEM_H

#include <stddef.h>

#include "core/core.h"

/* Why something is no event. */
typedef struct MeterProblem
{
	size_t		position;		/* in bytes, from 0 */
	char		reason[600];	/* UTF-8 */
} MeterProblem;

#endif							/* METER_PROBLEM_H */
