/*
 * parser_edn.c
 *	  The text of records for libFuzzer, always taken as EDN; record.h has the
 *	  promise.
 */
#include "record.h"

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	/* a comment in front makes it EDN */
	char	   *text = palloc(size + 2);

	text[0] = ';';
	text[1] = '\n';
	if (size > 0)
		memcpy(text + 2, data, size);
	try_text(text, size + 2);
	fuzz_free_all();
	return 0;
}
