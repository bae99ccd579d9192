/*
 * settings.h
 *	  The settings that more than one file reads.
 */
#ifndef METER_SETTINGS_H
#define METER_SETTINGS_H

extern int	meter_batch_rows;
extern int	meter_resource_memory;	/* kB */
extern int	meter_keep_interval;	/* minutes */
extern int	meter_segment_rows;
extern int	meter_segment_age;	/* minutes */
extern bool meter_enabled;
extern int	meter_naptime;		/* seconds */
extern int	meter_max_workers;
extern int	meter_max_workers_per_database;
extern int	meter_step_timeout;
extern int	meter_cancel_grace; /* milliseconds, 0: none */

extern void meter_settings_init(void);

#endif							/* METER_SETTINGS_H */
