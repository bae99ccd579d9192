/*
 * settings.c
 *	  The settings that more than one file reads.
 */
#include "postgres.h"

#include <limits.h>

#include "utils/guc.h"

#include "pg/settings.h"

#define WORKERS_LIMIT	1024

int			meter_batch_rows = 1000000;
int			meter_resource_memory = 128 * 1024;
int			meter_keep_interval = 24 * 60;
int			meter_segment_rows = 1000000;
int			meter_segment_age = 30 * 24 * 60;
bool		meter_enabled = true;
int			meter_naptime = 60;
int			meter_max_workers = 3;
int			meter_max_workers_per_database = 2;
int			meter_step_timeout = 10 * 60 * 1000;
int			meter_cancel_grace = 10 * 1000;

/* Define the settings, while the library is loaded. */
void
meter_settings_init(void)
{
	DefineCustomIntVariable("meter.batch_rows",
							"Rows that one step of advancing works on, about.",
							"A step is one transaction; a backlog is worked off in many.",
							&meter_batch_rows,
							1000000, 1, INT_MAX,
							PGC_USERSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meter.resource_memory",
							"Greatest amount of memory for what is open of one resource.",
							"A resource that takes more is set aside.",
							&meter_resource_memory,
							128 * 1024, 64, 512 * 1024,
							PGC_SUSET, GUC_UNIT_KB,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meter.keep_interval",
							"Time after which the state of a resource is kept again; 0: before each period.",
							"From a kept state on, a late event computes its resource anew.",
							&meter_keep_interval,
							24 * 60, 0, INT_MAX,
							PGC_USERSET, GUC_UNIT_MIN,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meter.segment_rows",
							"Rows after which a log gets a new segment; 0: never.",
							"The newest segment has no index by resource: late rows read all of it.",
							&meter_segment_rows,
							1000000, 0, INT_MAX,
							PGC_SUSET, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meter.segment_age",
							"Time after which a log gets a new segment; 0: never.",
							"A segment that is empty is kept.",
							&meter_segment_age,
							30 * 24 * 60, 0, INT_MAX,
							PGC_SUSET, GUC_UNIT_MIN,
							NULL, NULL, NULL);
	DefineCustomBoolVariable("meter.enabled",
							 "Starts workers that settle usage in the background.",
							 "A worker that is at work stops after its step.",
							 &meter_enabled,
							 true,
							 PGC_SIGHUP,
							 0,
							 NULL, NULL, NULL);
	DefineCustomIntVariable("meter.naptime",
							"Time between two turns of a worker in a database.",
							NULL,
							&meter_naptime,
							60, 1, INT_MAX / 1000,
							PGC_SIGHUP,
							GUC_UNIT_S,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meter.max_workers",
							"Greatest number of workers at a time, in all databases.",
							"They and the launcher count against max_worker_processes.",
							&meter_max_workers,
							3, 1, WORKERS_LIMIT,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meter.max_workers_per_database",
							"Greatest number of workers at a time in one database.",
							"A further worker is started where more meters are due than workers are there.",
							&meter_max_workers_per_database,
							2, 1, WORKERS_LIMIT,
							PGC_SIGHUP,
							0,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meter.step_timeout",
							"Greatest time that a worker spends on one step of a meter.",
							"A step that takes longer is a failure of its meter; 0 turns the limit off.",
							&meter_step_timeout,
							10 * 60 * 1000, 0, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
	DefineCustomIntVariable("meter.cancel_grace",
							"Time that a worker has to obey a cancel before it is terminated.",
							"A trigger can catch a cancel; it cannot catch that.",
							&meter_cancel_grace,
							10 * 1000, 1, INT_MAX,
							PGC_SIGHUP,
							GUC_UNIT_MS,
							NULL, NULL, NULL);
}
