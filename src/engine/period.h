/*
 * period.h
 *	  The period that holds an instant, as an expression of SQL.
 */
#ifndef METER_PERIOD_H
#define METER_PERIOD_H

#include "catalog/definition.h"

extern char *meter_period_of(const MeterDefinition *definition,
							 const char *at);

#endif							/* METER_PERIOD_H */
