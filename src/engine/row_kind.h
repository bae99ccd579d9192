/*
 * row_kind.h
 *	  Kinds of the rows that the timeline of a resource is made of.
 *
 * Queries give a kind as a "char".  The letters stand here and nowhere else: a
 * character constant of C is spelled as the literal of SQL is.
 */
#ifndef METER_ROW_KIND_H
#define METER_ROW_KIND_H

#define METER_LETTER_START				's'
#define METER_LETTER_STOP				'p'
#define METER_LETTER_CHANGE				'c'
#define METER_LETTER_END				'e'
#define METER_LETTER_CARRIED_OPEN		'o'
#define METER_LETTER_CARRIED_CLOSED		'x'
#define METER_LETTER_LOGGED_PRESENT		'h'
#define METER_LETTER_LOGGED_ABSENT		'g'
#define METER_LETTER_CANDIDATE_PRESENT	'H'
#define METER_LETTER_CANDIDATE_ABSENT	'G'
#define METER_LETTER_KNOWN_PRESENT		'K'
#define METER_LETTER_KNOWN_ABSENT		'k'
#define METER_LETTER_ASKED				'a'
#define METER_LETTER_OWNER				'w'
#define METER_LETTER_OBSERVED_OWNER		'W'
#define METER_LETTER_MEASURE			'm'

typedef enum MeterRowKind
{
	METER_ROW_START = METER_LETTER_START,
	METER_ROW_STOP = METER_LETTER_STOP,
	METER_ROW_CHANGE = METER_LETTER_CHANGE,
	METER_ROW_END = METER_LETTER_END,	/* a stop after which no start opens */
	/* the carried state: the resource runs, or does not */
	METER_ROW_CARRIED_OPEN = METER_LETTER_CARRIED_OPEN,
	METER_ROW_CARRIED_CLOSED = METER_LETTER_CARRIED_CLOSED,
	/* observations in the log: the snapshot has the resource, or has not */
	METER_ROW_LOGGED_PRESENT = METER_LETTER_LOGGED_PRESENT,
	METER_ROW_LOGGED_ABSENT = METER_LETTER_LOGGED_ABSENT,
	/* observations that might be logged */
	METER_ROW_CANDIDATE_PRESENT = METER_LETTER_CANDIDATE_PRESENT,
	METER_ROW_CANDIDATE_ABSENT = METER_LETTER_CANDIDATE_ABSENT,
	/* observations from before the carried state */
	METER_ROW_KNOWN_PRESENT = METER_LETTER_KNOWN_PRESENT,
	METER_ROW_KNOWN_ABSENT = METER_LETTER_KNOWN_ABSENT,
	/* the resource is asked for: nothing of it need be in the log */
	METER_ROW_ASKED = METER_LETTER_ASKED,
	/* an event that only says who owns the resource, or an observation */
	METER_ROW_OWNER = METER_LETTER_OWNER,
	METER_ROW_OBSERVED_OWNER = METER_LETTER_OBSERVED_OWNER,
	METER_ROW_MEASURE = METER_LETTER_MEASURE
} MeterRowKind;

/* A kind as a literal of SQL. */
#define METER_SQL_KIND(name)	CppAsString2(METER_LETTER_##name)

/* Conditions on an expression that is a kind. */
#define METER_IS_KIND(kind, name) \
	kind " = " METER_SQL_KIND(name)
#define METER_IS_CARRIED(kind) \
	kind " IN (" METER_SQL_KIND(CARRIED_OPEN) ", " METER_SQL_KIND(CARRIED_CLOSED) ")"
#define METER_IS_LOGGED_OBSERVATION(kind) \
	kind " IN (" METER_SQL_KIND(LOGGED_PRESENT) ", " METER_SQL_KIND(LOGGED_ABSENT) ")"
#define METER_IS_OWNER(kind) \
	kind " IN (" METER_SQL_KIND(OWNER) ", " METER_SQL_KIND(OBSERVED_OWNER) ")"
#define METER_IS_START_OR_STOP(kind) \
	kind " IN (" METER_SQL_KIND(START) ", " METER_SQL_KIND(STOP) ", " METER_SQL_KIND(END) ")"

#endif							/* METER_ROW_KIND_H */
