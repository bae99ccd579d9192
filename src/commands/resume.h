/*
 * resume.h
 *	  Whether a meter's rows, usage and states are all there.
 */
#ifndef METER_RESUME_H
#define METER_RESUME_H

extern void meter_check_meter(const char *stream, const char *meter);

#endif							/* METER_RESUME_H */
