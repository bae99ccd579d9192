/*
 * usage_kind.h
 *	  The two kinds of usage.
 */
#ifndef METER_USAGE_KIND_H
#define METER_USAGE_KIND_H

#include "catalog/definition.h"
#include "engine/usage.h"

extern const MeterUsage *meter_usage_of(const MeterDefinition *definition);

#endif							/* METER_USAGE_KIND_H */
