/*
 * measures.h
 *	  Measures: the queries over the measure log, and over events as far as they
 *	  say who owns what.
 */
#ifndef METER_MEASURES_H
#define METER_MEASURES_H

#include "datatype/timestamp.h"
#include "lib/stringinfo.h"

#include "catalog/definition.h"
#include "catalog/progress.h"
#include "engine/resources.h"
#include "engine/places.h"
#include "pg/spi.h"

/*
 * Which rows of the measure log are asked for.  Queries of a scope take the
 * parameters that meter_measure_params() gives.
 */
typedef struct MeterMeasureScope
{
	TimestampTz from;			/* usage from then on */
	TimestampTz to;				/* measures that begin before then */
	MeterResources *resources;	/* of these, each in its time; NULL: of all */
	MeterPlaces places;			/* where the rows of these are */
	MeterPlaces events;			/* where events of these are */
	bool		begin_at_readings;	/* rows of these from where they begin */
	bool		carried;		/* what was before `from` is in the states */
	TimestampTz least_start;	/* of the measures that bear on usage from
								 * `from` on, if so */
	const char *late_from;		/* rows that arrived after `safe` count from
								 * then on only; NULL: all do */
	int64		safe;
	bool		voids_from_log; /* not from the table _voided */
	bool		arrivals;		/* they are asked for, too */
	MeterRows	duplicates;		/* arrivals that do not count */
} MeterMeasureScope;

#define METER_MEASURE_NPARAMS	3

extern void meter_measure_params(const MeterMeasureScope *scope, Oid *types,
								 Datum *values);
extern char *meter_measures_of_resources(const MeterDefinition *definition,
										 const char *resources,
										 const MeterPlaces *places,
										 const char *to);
extern char *meter_measures_query(const MeterDefinition *definition,
								  const MeterProgress *progress,
								  const MeterMeasureScope *scope);
extern void meter_find_measure_duplicates(const MeterDefinition *definition,
										  const MeterProgress *progress,
										  MeterMeasureScope *scope);
extern void meter_bound_by_readings(const MeterDefinition *definition,
									const MeterProgress *progress,
									MeterMeasureScope *scope, bool carried);
extern void meter_look_back_to_owners(const MeterDefinition *definition,
									  MeterResources *asked,
									  const MeterPlaces *places,
									  TimestampTz to, const char *owners,
									  bool duplicates, const Oid *types,
									  const Datum *values);
extern char *meter_earliest_measure(const MeterDefinition *definition,
									const MeterProgress *progress);
extern char *meter_late_measures(const MeterDefinition *definition, const MeterProgress *progress,
								 int64 safe);

#endif							/* METER_MEASURES_H */
