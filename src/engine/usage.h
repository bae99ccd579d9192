/*
 * usage.h
 *	  Where the usage of a meter begins.
 */
#ifndef METER_USAGE_H
#define METER_USAGE_H

#include "catalog/definition.h"

extern char *meter_earliest_instant(const MeterDefinition *definition);

#endif							/* METER_USAGE_H */
