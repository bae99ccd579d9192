/*
 * usage_kind.c
 *	  The two kinds of usage.
 */
#include "postgres.h"

#include "catalog/definition.h"
#include "engine/usage.h"
#include "engine/usage_kind.h"

/* Return which kind of usage a meter is about. */
const MeterUsage *
meter_usage_of(const MeterDefinition *definition)
{
	return METER_OF_MEASURES(definition->aggregate) ?
		&meter_usage_of_measures : &meter_usage_of_events;
}
