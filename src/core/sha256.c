/*
 * sha256.c
 *	  SHA-256 (FIPS 180-4) of a few bytes, many times.
 *
 * A transaction ID takes two hashes.  The server's own hash function, by
 * OpenSSL's EVP, takes over a microsecond to set up for a hash of 50 ns, which
 * was a third of the time to settle a million rows.  Where the processor has
 * instructions for SHA-256 they are used; the first hash finds that out.
 */
#include "core/sha256.h"

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_SHA_INSTRUCTIONS
#include <cpuid.h>
#include <immintrin.h>
#endif

#define BLOCK_LENGTH	64

static const uint32 initial_state[8] = {
	0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
	0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19
};

static const uint32 round_constants[64] = {
	0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5,
	0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
	0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3,
	0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
	0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc,
	0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
	0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
	0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
	0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13,
	0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
	0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3,
	0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
	0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5,
	0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
	0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208,
	0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2
};

#define ROTATE(x, n)	(((x) >> (n)) | ((x) << (32 - (n))))

/* Work blocks of 64 bytes into a state. */
void
meter_sha256_blocks_portable(uint32 state[8], const uint8 *data,
							 size_t nblocks)
{
	for (; nblocks > 0; nblocks--, data += BLOCK_LENGTH)
	{
		uint32		w[64];
		uint32		s[8];
		int			i;

		for (i = 0; i < 16; i++)
			w[i] = (uint32) data[4 * i] << 24 | (uint32) data[4 * i + 1] << 16 |
				(uint32) data[4 * i + 2] << 8 | data[4 * i + 3];
		for (; i < 64; i++)
		{
			uint32		x = w[i - 15];
			uint32		y = w[i - 2];

			w[i] = w[i - 16] + (ROTATE(x, 7) ^ ROTATE(x, 18) ^ (x >> 3)) +
				w[i - 7] + (ROTATE(y, 17) ^ ROTATE(y, 19) ^ (y >> 10));
		}
		memcpy(s, state, sizeof(s));
		for (i = 0; i < 64; i++)
		{
			uint32		t1 = s[7] + round_constants[i] + w[i] +
			(ROTATE(s[4], 6) ^ ROTATE(s[4], 11) ^ ROTATE(s[4], 25)) +
			((s[4] & s[5]) ^ (~s[4] & s[6]));
			uint32		t2 =
			(ROTATE(s[0], 2) ^ ROTATE(s[0], 13) ^ ROTATE(s[0], 22)) +
			((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));

			memmove(s + 1, s, 7 * sizeof(uint32));
			s[4] += t1;
			s[0] = t1 + t2;
		}
		for (i = 0; i < 8; i++)
			state[i] += s[i];
	}
}

#ifdef HAVE_SHA_INSTRUCTIONS

/*
 * Work blocks of 64 bytes into a state by the processor's instructions, which
 * hold the state as ABEF and CDGH and do two rounds each.
 */
__attribute__((target("sha,sse4.1")))
static void
blocks_by_instructions(uint32 state[8], const uint8 *data, size_t nblocks)
{
	const __m128i swap = _mm_set_epi64x(INT64_C(0x0c0d0e0f08090a0b),
										INT64_C(0x0405060700010203));
	__m128i		low = _mm_loadu_si128((const __m128i *) state);
	__m128i		high = _mm_loadu_si128((const __m128i *) (state + 4));
	__m128i		abef;
	__m128i		cdgh;

	low = _mm_shuffle_epi32(low, 0xb1); /* CDAB */
	high = _mm_shuffle_epi32(high, 0x1b);	/* EFGH */
	abef = _mm_alignr_epi8(low, high, 8);
	cdgh = _mm_blend_epi16(high, low, 0xf0);

	for (; nblocks > 0; nblocks--, data += BLOCK_LENGTH)
	{
		const __m128i abef_before = abef;
		const __m128i cdgh_before = cdgh;
		__m128i		w[4];
		int			i;

		for (i = 0; i < 4; i++)
			w[i] = _mm_shuffle_epi8(_mm_loadu_si128((const __m128i *) data + i),
									swap);
		for (i = 0; i < 16; i++)
		{
			__m128i		sum = _mm_add_epi32(w[i % 4],
											_mm_loadu_si128((const __m128i *) (round_constants + 4 * i)));

			cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
			abef = _mm_sha256rnds2_epu32(abef, cdgh,
										 _mm_shuffle_epi32(sum, 0x0e));
			if (i < 12)
			{
				/* the words of four rounds later by four */
				__m128i		next = _mm_sha256msg1_epu32(w[i % 4],
														w[(i + 1) % 4]);

				next = _mm_add_epi32(next, _mm_alignr_epi8(w[(i + 3) % 4],
														   w[(i + 2) % 4], 4));
				w[i % 4] = _mm_sha256msg2_epu32(next, w[(i + 3) % 4]);
			}
		}
		abef = _mm_add_epi32(abef, abef_before);
		cdgh = _mm_add_epi32(cdgh, cdgh_before);
	}

	low = _mm_shuffle_epi32(abef, 0x1b);	/* FEBA */
	high = _mm_shuffle_epi32(cdgh, 0xb1);	/* DCHG */
	_mm_storeu_si128((__m128i *) state, _mm_blend_epi16(low, high, 0xf0));
	_mm_storeu_si128((__m128i *) (state + 4), _mm_alignr_epi8(high, low, 8));
}

#endif

/*
 * Return the function that works blocks in by the processor's instructions, or
 * NULL where the processor has none.
 */
MeterSha256Blocks
meter_sha256_blocks_fast(void)
{
#ifdef HAVE_SHA_INSTRUCTIONS
	unsigned int a;
	unsigned int b;
	unsigned int c;
	unsigned int d;

	/* SSSE3 and SSE4.1, then SHA */
	if (__get_cpuid(1, &a, &b, &c, &d) && (c & (1U << 9)) &&
		(c & (1U << 19)) &&
		__get_cpuid_count(7, 0, &a, &b, &c, &d) && (b & (1U << 29)))
		return blocks_by_instructions;
#endif
	return NULL;
}

/* Hash bytes with a given function that works blocks in. */
void
meter_sha256_by(MeterSha256Blocks blocks, const uint8 *data, size_t length,
				uint8 digest[METER_SHA256_LENGTH])
{
	uint32		state[8];
	uint8		last[2 * BLOCK_LENGTH] = {0};
	size_t		whole = length / BLOCK_LENGTH;
	size_t		rest = length % BLOCK_LENGTH;
	size_t		nlast = rest < BLOCK_LENGTH - 8 ? 1 : 2;
	uint64		bits = (uint64) length * 8;
	int			i;

	memcpy(state, initial_state, sizeof(state));
	blocks(state, data, whole);
	if (rest > 0)
		memcpy(last, data + whole * BLOCK_LENGTH, rest);
	last[rest] = 0x80;
	for (i = 0; i < 8; i++)
		last[nlast * BLOCK_LENGTH - 1 - i] = (uint8) (bits >> (8 * i));
	blocks(state, last, nlast);
	for (i = 0; i < METER_SHA256_LENGTH; i++)
		digest[i] = (uint8) (state[i / 4] >> (24 - 8 * (i % 4)));
}

/* Hash bytes. */
void
meter_sha256(const uint8 *data, size_t length,
			 uint8 digest[METER_SHA256_LENGTH])
{
	static MeterSha256Blocks blocks = NULL;

	if (blocks == NULL)
	{
		blocks = meter_sha256_blocks_fast();
		if (blocks == NULL)
			blocks = meter_sha256_blocks_portable;
	}
	meter_sha256_by(blocks, data, length, digest);
}
