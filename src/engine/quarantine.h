/*
 * quarantine.h
 *	  The resources of a meter that are set aside.
 */
#ifndef METER_QUARANTINE_H
#define METER_QUARANTINE_H

#include "datatype/timestamp.h"
#include "utils/elog.h"

#include "catalog/definition.h"
#include "core/core.h"

/* A resource that is set aside. */
typedef struct MeterSetAside
{
	MeterAttr	resource;		/* the key */
	TimestampTz since;			/* what it used from then on is not settled */
	bool		is_new;			/* it was set aside in this pass */
	bool		moved;			/* `since` was */
	int			sqlstate;		/* why, if it is new */
	char	   *message;
	uint32		hash;
	char		status;
} MeterSetAside;

typedef struct MeterQuarantine MeterQuarantine;

extern MeterQuarantine *meter_quarantine_begin(const MeterDefinition *definition);
extern void meter_quarantine_read(MeterQuarantine *quarantine);
extern MeterSetAside *meter_quarantine_find(MeterQuarantine *quarantine,
											MeterAttr resource);
extern void meter_quarantine_extend(MeterQuarantine *quarantine,
									MeterSetAside *aside, TimestampTz since);
extern void meter_quarantine_add(MeterQuarantine *quarantine,
								 MeterAttr resource, TimestampTz since,
								 const ErrorData *error);
extern bool meter_quarantine_was_added(const MeterQuarantine *quarantine);
extern void meter_quarantine_each_new(MeterQuarantine *quarantine,
									  void (*tell) (void *arg, const MeterSetAside *aside),
									  void *arg);
extern void meter_quarantine_write(MeterQuarantine *quarantine);
extern void meter_quarantine_warn(const MeterQuarantine *quarantine,
								  bool anonymous);
extern TimestampTz meter_quarantine_least(const MeterDefinition *definition,
										  char **resource);

#endif							/* METER_QUARANTINE_H */
