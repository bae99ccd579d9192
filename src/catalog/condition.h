/*
 * condition.h
 *	  The condition of a stream's tables.
 */
#ifndef METER_CONDITION_H
#define METER_CONDITION_H

#include "nodes/pg_list.h"

/* What is wrong with a stream. */
typedef struct MeterProblem
{
	char	   *message;
	char	   *hint;
} MeterProblem;

extern List *meter_find_problems(const char *stream);
extern void meter_check_condition(const char *stream);

#endif							/* METER_CONDITION_H */
