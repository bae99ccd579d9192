/*
 * advance.h
 *	  meter.advance(): one bounded step of each meter asked for.
 */
#ifndef METER_ADVANCE_H
#define METER_ADVANCE_H

#include "nodes/pg_list.h"

extern List *meter_active_meters(void);

#endif							/* METER_ADVANCE_H */
