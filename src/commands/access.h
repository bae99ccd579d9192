/*
 * access.h
 *	  Granting access to a stream, and isolating its tenants.
 */
#ifndef METER_COMMANDS_ACCESS_H
#define METER_COMMANDS_ACCESS_H

extern void meter_bind_tenants(const char *stream);
extern void meter_make_views(const char *stream);

#endif							/* METER_COMMANDS_ACCESS_H */
