/*
 * copying.h
 *	  What COPY is doing.
 */
#ifndef METER_COPYING_H
#define METER_COPYING_H

extern bool meter_copying_into_view(void);
extern bool meter_copied_blank_line(void);

#endif							/* METER_COPYING_H */
