/*
 * schedule.c
 *	  Jobs of pg_cron for a stream.
 *
 * pg_cron runs a job as the role that made it, in the one database of the
 * server that keeps all jobs, unless the job names another one.  So jobs are
 * made as the caller, and only in that database; in other databases an error
 * tells what to do there.
 */
#include "postgres.h"

#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/varlena.h"

#include "catalog/access.h"
#include "catalog/stream.h"
#include "pg/arguments.h"
#include "pg/meter_compat.h"
#include "pg/spi.h"
#include "pg/worker_slot.h"

/* A job of pg_cron; without a schedule the job is to be removed. */
typedef struct Job
{
	char	   *name;
	const char *schedule;
	char	   *command;
} Job;

#define NJOBS 3

/* Name the jobs of a stream; the names tell them from all others. */
static void
name_jobs(const char *stream, Job *jobs)
{
	jobs[0].name = psprintf("meter advance %s", stream);
	jobs[1].name = psprintf("meter verify %s", stream);
	jobs[2].name = psprintf("meter expire %s", stream);
}

/* Return the names of jobs as a list of literals. */
static char *
job_names(const Job *jobs)
{
	return psprintf("%s, %s, %s", quote_literal_cstr(jobs[0].name),
					quote_literal_cstr(jobs[1].name),
					quote_literal_cstr(jobs[2].name));
}

/* Tell whether the server preloads pg_cron. */
static bool
cron_is_loaded(void)
{
	char	   *libraries = pstrdup(GetConfigOption("shared_preload_libraries",
													false, false));
	List	   *paths;
	ListCell   *cell;

	if (!SplitDirectoriesString(libraries, ',', &paths))
		return false;
	foreach(cell, paths)
	{
		const char *name = lfirst(cell);
		const char *slash = strrchr(name, '/');

		if (slash != NULL)
			name = slash + 1;
		if (strcmp(name, "pg_cron") == 0 || strcmp(name, "pg_cron.so") == 0)
			return true;
	}
	return false;
}

/*
 * Return statements for the hint, to run in the database that has pg_cron's
 * jobs.  That database may have a stream of the same name, and jobs are known
 * by their names.
 */
static char *
statements_elsewhere(const Job *jobs, const char *database)
{
	StringInfoData text;
	int			i;

	initStringInfo(&text);
	for (i = 0; i < NJOBS; i++)
	{
		if (jobs[i].schedule != NULL)
			appendStringInfo(&text, "\nSELECT cron.schedule_in_database(%s, %s, %s, %s);",
							 quote_literal_cstr(psprintf("%s in %s", jobs[i].name, database)),
							 quote_literal_cstr(jobs[i].schedule),
							 quote_literal_cstr(jobs[i].command),
							 quote_literal_cstr(database));
	}
	return text.data;
}

/*
 * Check that pg_cron is there, with its jobs in this database, for the caller.
 */
static void
check_cron(const Job *jobs)
{
	const char *here = get_database_name(MyDatabaseId);
	const char *there;

	if (!cron_is_loaded())
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron is not preloaded"),
				 errhint("Add pg_cron to \"shared_preload_libraries\", restart the server, and CREATE EXTENSION pg_cron. Only to advance, pg_cron is not needed: meter's own worker does that where meter is preloaded.")));
	there = GetConfigOption("cron.database_name", true, false);
	if (there != NULL && strcmp(there, here) != 0)
	{
		char	   *statements = statements_elsewhere(jobs, here);

		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("pg_cron keeps its jobs in database \"%s\", not in \"%s\"",
						there, here),
				 statements[0] == '\0' ? errhint("Remove the jobs there, with cron.unschedule().") :
				 errhint("Set \"cron.database_name\", or make the jobs there:%s",
						 statements)));
	}
	if (!OidIsValid(get_extension_oid("pg_cron", true)))
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("extension \"pg_cron\" does not exist in database \"%s\"",
						here),
				 errhint("CREATE EXTENSION pg_cron; and, for the owner of the stream, GRANT USAGE ON SCHEMA cron.")));
	if (meter_schema_aclcheck(get_namespace_oid("cron", false), GetUserId(),
							  ACL_USAGE) != ACLCHECK_OK)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission denied for schema cron"),
				 errhint("GRANT USAGE ON SCHEMA cron TO %s.",
						 quote_identifier(GetUserNameFromId(GetUserId(), false)))));
}

/*
 * Begin a session as the caller, who sees only those jobs that row security
 * shows.
 */
static void
begin_as_caller(MeterSession *session)
{
	meter_session_begin(session, InvalidOid);
	meter_execute("SELECT set_config('row_security', 'on', true)",
				  SPI_OK_SELECT);
}

/*
 * Remove those of these jobs of the caller that have no schedule; returns how
 * many there were.
 */
static uint64
remove_jobs(const Job *jobs)
{
	StringInfoData dropped;
	int			i;

	initStringInfo(&dropped);
	for (i = 0; i < NJOBS; i++)
	{
		if (jobs[i].schedule == NULL)
			appendStringInfo(&dropped, "%s%s", dropped.len > 0 ? ", " : "",
							 quote_literal_cstr(jobs[i].name));
	}
	if (dropped.len == 0)
		return 0;
	meter_execute(psprintf("SELECT cron.unschedule(jobid) FROM cron.job "
						   "WHERE jobname IN (%s) AND username = current_user",
						   dropped.data), SPI_OK_SELECT);
	return SPI_processed;
}

/* Return an argument that says when to do something, or NULL. */
static const char *
schedule_arg(FunctionCallInfo fcinfo, int argument)
{
	return PG_ARGISNULL(argument) ? NULL :
		text_to_cstring(PG_GETARG_TEXT_PP(argument));
}

PG_FUNCTION_INFO_V1(meter_schedule);

/* schedule(stream, advance, verify, retention, expire) */
Datum
meter_schedule(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	char	   *literal = quote_literal_cstr(stream);
	Job			jobs[NJOBS] = {{NULL, NULL, NULL}};
	MeterSession session;
	int			i;

	PreventCommandIfReadOnly("meter.schedule()");
	meter_check_access(stream, METER_ACCESS_OPERATOR);
	name_jobs(stream, jobs);
	jobs[0].schedule = schedule_arg(fcinfo, 1);
	if (jobs[0].schedule == NULL && !meter_slots_exist())
		jobs[0].schedule = "* * * * *";
	jobs[0].command = psprintf("CALL meter.run(%s)", literal);
	/* only the owner may forget what the logs have */
	if (!PG_ARGISNULL(3))
		meter_check_stream_permission(stream);
	jobs[1].schedule = schedule_arg(fcinfo, 2);
	jobs[1].command = psprintf("SELECT meter.assert_verified(%s)", literal);
	if (!PG_ARGISNULL(3))
	{
		Interval	zero = {0};
		char	   *retention = DatumGetCString(DirectFunctionCall1(interval_out,
																	PG_GETARG_DATUM(3)));

		if (DatumGetInt32(DirectFunctionCall2(interval_cmp, PG_GETARG_DATUM(3),
											  IntervalPGetDatum(&zero))) <= 0)
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"retention\" must be positive, not \"%s\"",
							retention)));
		jobs[2].schedule = schedule_arg(fcinfo, 4);
		if (jobs[2].schedule == NULL)
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("\"expire\" must not be null where there is a \"retention\"")));
		jobs[2].command = psprintf("SELECT meter.expire(%s, now() - %s::interval)",
								   literal, quote_literal_cstr(retention));
	}
	check_cron(jobs);

	meter_return_begin(fcinfo);
	begin_as_caller(&session);
	(void) remove_jobs(jobs);
	for (i = 0; i < NJOBS; i++)
	{
		if (jobs[i].schedule != NULL)
			meter_execute(psprintf("SELECT cron.schedule(%s, %s, %s)",
								   quote_literal_cstr(jobs[i].name),
								   quote_literal_cstr(jobs[i].schedule),
								   quote_literal_cstr(jobs[i].command)),
						  SPI_OK_SELECT);
	}
	meter_execute(psprintf("SELECT jobname::text, schedule, command FROM cron.job "
						   "WHERE jobname IN (%s) AND username = current_user "
						   "ORDER BY jobname", job_names(jobs)),
				  SPI_OK_SELECT);
	meter_return_result(fcinfo);
	meter_session_end(&session);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(meter_unschedule);

/* unschedule(stream) */
Datum
meter_unschedule(PG_FUNCTION_ARGS)
{
	char	   *stream = meter_text_arg(fcinfo, 0, "stream");
	Job			jobs[NJOBS] = {{NULL, NULL, NULL}};
	MeterSession session;
	uint64		removed;

	PreventCommandIfReadOnly("meter.unschedule()");
	name_jobs(stream, jobs);
	check_cron(jobs);
	begin_as_caller(&session);
	removed = remove_jobs(jobs);
	meter_session_end(&session);
	PG_RETURN_INT32((int32) removed);
}
