/*
 * copying.c
 *	  What COPY is doing.
 */
#include "postgres.h"

#include "catalog/pg_class.h"
#include "commands/copy.h"
#include "commands/copyfrom_internal.h"
#include "utils/rel.h"

#include "pg/copying.h"

/*
 * Return the state of COPY if it is what reads a line just now; else NULL.
 * COPY names the line in its errors by a callback, whose argument that is.
 */
static CopyFromState
copying(void)
{
	const ErrorContextCallback *innermost = error_context_stack;

	return innermost != NULL && innermost->callback == CopyFromErrorCallback ?
		(CopyFromState) innermost->arg : NULL;
}

/*
 * Tell whether an input function is called for a line that COPY reads into a
 * view.
 */
bool
meter_copying_into_view(void)
{
	CopyFromState state = copying();

	return state != NULL && state->rel->rd_rel->relkind == RELKIND_VIEW;
}

/*
 * Tell whether the row of one column that a trigger has from COPY, and that is
 * null, was a blank line: it was where nothing stands for null, as in CSV.
 */
bool
meter_copied_blank_line(void)
{
	CopyFromState state = copying();

	return state != NULL && state->opts.null_print_len == 0;
}
