/*
 * create_stream.h
 *	  Making a stream, and what a stream lacks.
 */
#ifndef METER_CREATE_STREAM_H
#define METER_CREATE_STREAM_H

extern void meter_complete_stream(const char *stream);

#endif							/* METER_CREATE_STREAM_H */
