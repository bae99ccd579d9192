/*
 * sha256.h
 *	  SHA-256 of a few bytes, many times.
 */
#ifndef METER_SHA256_H
#define METER_SHA256_H

#include "core/core.h"

#define METER_SHA256_LENGTH	32

typedef void (*MeterSha256Blocks) (uint32 state[8], const uint8 *data,
								   size_t nblocks);

extern void meter_sha256(const uint8 *data, size_t length,
						 uint8 digest[METER_SHA256_LENGTH]);
extern void meter_sha256_by(MeterSha256Blocks blocks, const uint8 *data,
							size_t length,
							uint8 digest[METER_SHA256_LENGTH]);
extern void meter_sha256_blocks_portable(uint32 state[8], const uint8 *data,
										 size_t nblocks);
extern MeterSha256Blocks meter_sha256_blocks_fast(void);

#endif							/* METER_SHA256_H */
