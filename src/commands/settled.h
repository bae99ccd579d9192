/*
 * settled.h
 *	  What the ledger says of an account or a resource.
 */
#ifndef METER_SETTLED_H
#define METER_SETTLED_H

#include "fmgr.h"

extern void meter_return_settled(FunctionCallInfo fcinfo, const char *stream,
								 Datum accounts, Datum resource, Datum meters);
extern Datum meter_settled_meters(const char *stream);

#endif							/* METER_SETTLED_H */
