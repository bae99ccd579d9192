/*
 * inbox.h
 *	  The ingestion paths of a stream for events as values.
 */
#ifndef METER_INBOX_H
#define METER_INBOX_H

extern void meter_make_inbox(const char *stream);
extern void meter_inbox_init(void);

#endif							/* METER_INBOX_H */
