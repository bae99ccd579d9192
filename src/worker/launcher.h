/*
 * launcher.h
 *	  The process that starts workers in the databases where something is due.
 */
#ifndef METER_LAUNCHER_H
#define METER_LAUNCHER_H

extern PGDLLEXPORT void meter_launcher_main(Datum arg);

#endif
