/*
 * places.h
 *	  Where the rows of few resources are: in sealed segments by an index, and
 *	  among the newest rows, which have none.
 */
#ifndef METER_PLACES_H
#define METER_PLACES_H

#include "catalog/definition.h"
#include "pg/spi.h"

/* Where rows of a log are. */
typedef struct MeterPlaces
{
	int64		sealed;			/* of arrivals before this by an index; 0:
								 * none */
	MeterRows	newest;			/* the others, if they were read before */
	bool		all_read;		/* these are all rows, of whatever age */
} MeterPlaces;

extern int64 meter_sealed_for(const MeterDefinition *definition, MeterLog log,
							  double nprobes);
extern void meter_find_places(MeterPlaces *places,
							  const MeterDefinition *definition, MeterLog log,
							  Datum resources, int64 count);
extern void meter_find_places_from(MeterPlaces *places,
								   const MeterDefinition *definition,
								   MeterLog log, Datum resources, int64 count,
								   TimestampTz from, const char *others);
extern void meter_read_places(MeterPlaces *places,
							  const MeterDefinition *definition, MeterLog log,
							  const char *resource);
extern char *meter_rows_at(const MeterPlaces *places,
						   const MeterDefinition *definition, MeterLog log,
						   const char *resources, const char *columns,
						   const char *conditions,
						   const char *sealed_conditions);
extern const char *meter_newest_rows(const MeterPlaces *places,
									 const MeterDefinition *definition,
									 MeterLog log);
extern const char *meter_any_rows(const MeterPlaces *places,
								  const MeterDefinition *definition,
								  MeterLog log);
extern void meter_forget_places(MeterPlaces *places);

#endif							/* METER_PLACES_H */
