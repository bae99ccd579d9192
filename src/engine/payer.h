/*
 * payer.h
 *	  Who pays: the account that usage belongs to.
 */
#ifndef METER_PAYER_H
#define METER_PAYER_H

#include "datatype/timestamp.h"
#include "fmgr.h"

#include "catalog/definition.h"
#include "catalog/progress.h"

/* The owners of a resource, each with the instant from which on it is. */
typedef struct MeterOwners
{
	int			count;
	Datum	   *since;			/* ascending */
	Datum	   *names;			/* text */
} MeterOwners;

extern void meter_read_owners(FunctionCallInfo fcinfo, int since_arg,
							  int names_arg, MeterOwners *owners);
extern int	meter_owner_at(const MeterOwners *owners, TimestampTz at);
extern char *meter_newly_named(const MeterDefinition *definition, const MeterProgress *progress, TimestampTz end);

#endif							/* METER_PAYER_H */
