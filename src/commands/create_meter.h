/*
 * create_meter.h
 *	  The arguments of meter.create_meter().
 */
#ifndef METER_CREATE_METER_H
#define METER_CREATE_METER_H

#include "fmgr.h"

#include "catalog/definition.h"

extern void meter_definition_arguments(FunctionCallInfo fcinfo, Datum *values,
									   char *nulls);
extern void meter_check_boundaries(const MeterDefinition *definition,
								   const Datum *values, const char *nulls);

#endif							/* METER_CREATE_METER_H */
