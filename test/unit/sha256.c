/*
 * Promise: SHA-256 is that of FIPS 180-4, by either way of computing it, for any length.
 */
#include <stdio.h>

#include "core/sha256.h"

typedef struct Vector
{
	const char *text;
	int			times;
	const char *digest;
} Vector;

/* NIST's examples */
static const Vector vectors[] = {
	{"abc", 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	{"", 1, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 1,
	"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	{"abcdefghbcdefghicdefghijdefghijkefghijklfghijklmghijklmnhijklmnoijklmnopjklmnopqklmnopqrlmnopqrsmnopqrstnopqrstu", 1,
	"cf5b16a778af8380036ce59e7b0492370b249b11e8f07a51afac45037afee9d1"},
	{"aaaaaaaaaa", 100000, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"}
};

int
main(void)
{
	MeterSha256Blocks fast = meter_sha256_blocks_fast();
	uint8		random[300];
	uint32		seed = 20240305;
	size_t		length;
	int			failures = 0;
	int			i;

	for (i = 0; i < (int) (sizeof(vectors) / sizeof(vectors[0])); i++)
	{
		const Vector *vector = &vectors[i];
		size_t		piece = strlen(vector->text);
		uint8	   *data = palloc(piece * vector->times + 1);
		uint8		digest[METER_SHA256_LENGTH];
		char		hex[2 * METER_SHA256_LENGTH + 1];
		int			way;
		int			j;

		for (j = 0; j < vector->times; j++)
			memcpy(data + j * piece, vector->text, piece);
		for (way = 0; way < (fast ? 2 : 1); way++)
		{
			meter_sha256_by(way ? fast : meter_sha256_blocks_portable,
							data, piece * vector->times, digest);
			for (j = 0; j < METER_SHA256_LENGTH; j++)
				sprintf(hex + 2 * j, "%02x", digest[j]);
			if (strcmp(hex, vector->digest) != 0)
			{
				printf("vector %d by way %d: %s\n", i, way, hex);
				failures++;
			}
		}
		pfree(data);
	}

	for (i = 0; i < (int) sizeof(random); i++)
		random[i] = (uint8) ((seed = seed * 1103515245 + 12345) >> 16);
	for (length = 0; fast && length <= sizeof(random); length++)
	{
		uint8		a[METER_SHA256_LENGTH];
		uint8		b[METER_SHA256_LENGTH];

		meter_sha256_by(fast, random, length, a);
		meter_sha256_by(meter_sha256_blocks_portable, random, length, b);
		if (memcmp(a, b, sizeof(a)) != 0)
		{
			printf("%zu bytes: the two ways differ\n", length);
			failures++;
		}
	}
	return failures > 0;
}
