/*
 * catalog_watch.h
 *	  Whether tables, or what is on them, may have changed.
 */
#ifndef METER_CATALOG_WATCH_H
#define METER_CATALOG_WATCH_H

extern uint64 meter_catalog_changes(void);

#endif							/* METER_CATALOG_WATCH_H */
