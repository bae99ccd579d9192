/*
 * forget.h
 *	  Forgetting streams: by a call, or because their schema is gone.
 */
#ifndef METER_FORGET_H
#define METER_FORGET_H

extern void meter_forget_stream(const char *stream);
extern bool meter_stream_is_gone(const char *stream);
extern void meter_forget_gone_streams(void);

#endif							/* METER_FORGET_H */
