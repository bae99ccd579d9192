/*
 * inbox.h
 *	  The ingestion paths of a stream for events and measures as values.
 */
#ifndef METER_INBOX_H
#define METER_INBOX_H

extern void meter_make_inboxes(const char *stream);
extern void meter_inbox_init(void);

#endif							/* METER_INBOX_H */
