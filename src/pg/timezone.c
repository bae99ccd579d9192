/*
 * timezone.c
 *	  The server's time zones, as the grid wants them.
 *
 * Zones that were looked up stay for the life of the process, as the server
 * keeps those it has loaded; each remembers the midnights asked for lately.
 */
#include "postgres.h"

#include "pgtime.h"
#include "utils/memutils.h"

#include "core/core.h"
#include "core/grid.h"
#include "pg/timezone.h"

#define REMEMBERED_DAYS 64		/* a power of two */

typedef struct Zone
{
	MeterZone	zone;
	pg_tz	   *tz;
	struct Zone *next;
	int32		days[REMEMBERED_DAYS];
	int64		midnights[REMEMBERED_DAYS];
} Zone;

static Zone *zones = NULL;

/* 2000-01-01 in seconds since 1970-01-01 */
#define EPOCH_2000_SECONDS	INT64CONST(946684800)
#define DAY_SECONDS			INT64CONST(86400)

/*
 * Return the first instant, in seconds since 1970, whose local time is `local`
 * or later.  No zone is a week off UTC, so the search begins a week before;
 * the first piece of constant offset that gets to `local` has the instant.
 */
static int64
first_instant(const pg_tz *tz, int64 local)
{
	pg_time_t	from = local - 8 * DAY_SECONDS;

	for (;;)
	{
		long int	before;
		long int	after;
		int			before_isdst;
		int			after_isdst;
		pg_time_t	boundary;
		int			found;

		found = pg_next_dst_boundary(&from, &before, &before_isdst, &boundary,
									 &after, &after_isdst, tz);
		if (found < 0)
			elog(ERROR, "time zone \"%s\" cannot be read",
				 pg_get_timezone_name((pg_tz *) tz));
		if (from + before >= local)
			return from;
		if (found == 0 || local - before < boundary)
			return local - before;
		from = boundary;
	}
}

/* Implement midnight() of MeterZone. */
static int64
zone_midnight(void *arg, int32 day)
{
	Zone	   *zone = arg;
	int			slot = day & (REMEMBERED_DAYS - 1);

	if (zone->days[slot] != day)
	{
		zone->midnights[slot] =
			(first_instant(zone->tz,
						   day * DAY_SECONDS + EPOCH_2000_SECONDS) -
			 EPOCH_2000_SECONDS) * METER_SECOND;
		zone->days[slot] = day;
	}
	return zone->midnights[slot];
}

/* Return a day near the one that holds an instant: the date in UTC. */
int32
meter_zone_day_near(int64 instant)
{
	int64		day = instant / METER_DAY;

	return (int32) (day - (instant % METER_DAY < 0 ? 1 : 0));
}

/*
 * Implement day_near() of MeterZone: the date in UTC is rarely more than one
 * off.
 */
static int32
zone_day_near(void *arg pg_attribute_unused(), int64 instant)
{
	return meter_zone_day_near(instant);
}

/*
 * Look up the time zone of a name; it is NULL for UTC.  Returns false if there
 * is none.
 */
bool
meter_zone_find(const char *name, const MeterZone **found)
{
	pg_tz	   *tz;
	Zone	   *zone;
	int			i;

	*found = NULL;
	if (pg_strcasecmp(name, "UTC") == 0)
		return true;
	tz = pg_tzset(name);
	if (tz == NULL || !pg_tz_acceptable(tz))
		return false;
	for (zone = zones; zone != NULL; zone = zone->next)
	{
		if (zone->tz == tz)
		{
			*found = &zone->zone;
			return true;
		}
	}
	zone = MemoryContextAllocZero(TopMemoryContext, sizeof(Zone));
	zone->zone.midnight = zone_midnight;
	zone->zone.day_near = zone_day_near;
	zone->zone.arg = zone;
	zone->tz = tz;
	for (i = 0; i < REMEMBERED_DAYS; i++)
		zone->days[i] = PG_INT32_MIN;
	zone->next = zones;
	zones = zone;
	*found = &zone->zone;
	return true;
}

/*
 * Return the time zone of a name, NULL for UTC; raises an error if there is
 * none.
 */
const MeterZone *
meter_zone_lookup(const char *name)
{
	const MeterZone *zone;

	if (!meter_zone_find(name, &zone))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("time zone \"%s\" not recognized", name),
				 errhint("View pg_timezone_names lists those there are.")));
	return zone;
}

/* Tell whether a zone that was looked up has one offset for all times. */
bool
meter_zone_is_fixed(const MeterZone *zone)
{
	long int	offset;

	return zone == NULL ||
		pg_get_timezone_offset(((const Zone *) zone->arg)->tz, &offset);
}
