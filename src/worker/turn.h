/*
 * turn.h
 *	  One turn of a worker in one database.
 */
#ifndef METER_TURN_H
#define METER_TURN_H

extern PGDLLEXPORT void meter_worker_main(Datum arg);

#endif
