/*
 * fuzz.c
 *	  Promise: whatever the bytes, reading a timeline from them gives a
 *	  timeline or the position and reason why not; what is read can be written,
 *	  reads back the same, and can be rounded and cut.
 *
 * Inputs are random timelines, damaged: bytes changed, cut out, put in,
 * doubled, or taken from another input.  The seed is printed.  Arguments: the
 * seed, and for how many seconds to go on.
 */
#include <time.h>

#include "core/codec.h"
#include "core/pairing.h"
#include "core/decimal.h"
#include "core/rounding.h"
#include "core/textform.h"
#include "test/unit/standalone/unit.h"

#define KEPT	64				/* inputs to damage further */
#define LONGEST 4096

typedef struct Input
{
	size_t		length;
	uint8		bytes[LONGEST];
} Input;

static Input kept[2][KEPT];		/* bytes, texts */

/* Stop, and show the input. */
static void
fail(const Input *input, const char *what)
{
	size_t		i;

	printf("%s:", what);
	for (i = 0; i < input->length; i++)
		printf(" %02x", input->bytes[i]);
	printf("\n");
	abort();
}

/* A random timeline, some of it far away. */
static MeterTimeline *
random_timeline(void)
{
	static const char *labels[] = {"", "a", "large", "\"\\\n\x7f", "\xc3\xa4\xe2\x82\xac"};
	static const char *values[] = {"0", "-1", "3.25", "100000000000000000000", "0.000001"};
	MeterTimelineBuilder builder;
	int64		at = below(10) == 0 ? METER_FIRST : (int64) below(1000000000) * METER_SECOND;
	int64		step = below(3) == 0 ? 1 : (below(2) ? METER_MINUTE : METER_SECOND);
	int			n = (int) below(12);
	int			natts = below(8) == 0 ? (int) below(4) : 1;
	int			i;
	int			j;

	at -= at % step;
	meter_build_begin(&builder, natts);
	for (i = 0; i < n; i++)
	{
		MeterAttr	attrs[5];
		int64		begin = i == 0 && below(20) == 0 ? METER_BEGIN : at;

		for (j = 0; j <= natts; j++)
		{
			const char *text = j < natts ? labels[below(5)] : values[below(5)];

			attrs[j] = METER_NULL_ATTR;
			if (below(3) == 0)
				continue;
			attrs[j].data = text;
			attrs[j].len = (int32) strlen(text);
		}
		at += (1 + below(100)) * step;
		meter_build_span(&builder, begin, i == n - 1 && below(2) ? METER_END : at,
						 meter_build_label(&builder, attrs));
		if (below(2))
			at += below(100) * step;
		builder.timeline->has_last = true;
		builder.timeline->last = at;
	}
	return builder.timeline;
}

/* Damage an input. */
static void
damage(Input *input, int kind)
{
	int			times = 1 + (int) below(4);

	while (times-- > 0)
	{
		const Input *other = &kept[kind][below(KEPT)];
		size_t		at = below((int) input->length + 1);
		size_t		length = below(8) == 0 ? below(200) : below(8);
		uint8		piece[LONGEST];
		size_t		from;

		switch (below(6))
		{
			case 0:				/* change a byte */
				if (at < input->length)
					input->bytes[at] = below(2) ? (uint8) below(256) :
						(uint8) "0123456789TZ:-.,[](){}\"@ \\\xff\x80\x7f\x00\x01"[below(32)];
				continue;
			case 1:				/* change a bit */
				if (at < input->length)
					input->bytes[at] ^= (uint8) (1 << below(8));
				continue;
			case 2:				/* cut some out */
				length = Min(length, input->length - at);
				memmove(input->bytes + at, input->bytes + at + length,
						input->length - at - length);
				input->length -= length;
				continue;
			case 3:				/* put some of another in */
				from = below((int) other->length + 1);
				length = Min(length, other->length - from);
				memcpy(piece, other->bytes + from, length);
				break;
			case 4:				/* double some */
				from = below((int) input->length + 1);
				length = Min(length, input->length - from);
				memcpy(piece, input->bytes + from, length);
				break;
			default:			/* put some noise in */
				for (from = 0; from < length; from++)
					piece[from] = (uint8) below(256);
		}
		if (input->length + length > LONGEST)
			continue;
		memmove(input->bytes + at + length, input->bytes + at,
				input->length - at);
		memcpy(input->bytes + at, piece, length);
		input->length += length;
	}
}

/* Do with a timeline what can be done with one. */
static void
use_timeline(const Input *input, const MeterTimeline *timeline)
{
	MeterGrid	grid;
	uint8	   *bytes = palloc(meter_encode_bound(timeline));
	size_t		length = meter_encode(timeline, bytes);
	const char *problem = NULL;
	size_t		position = 0;
	MeterTimeline *back = meter_decode(bytes, length, &problem, &position);
	int			rounding;

	if (length > meter_encode_bound(timeline))
		fail(input, "longer than its bound");
	if (back == NULL || back->nspans != timeline->nspans ||
		back->nlabels > Max(timeline->nlabels, 1))
		fail(input, "does not read back");
	pfree(bytes);

	meter_grid_init(&grid, NULL);
	grid.unit = below(2) ? METER_MINUTE : METER_DAY;
	grid.period_months = below(2) ? 1 : 12;
	for (rounding = METER_ROUND_NONE; rounding <= METER_ROUND_NEAREST; rounding++)
	{
		MeterRounded rounded;
		MeterCutter cutter;
		int64		from = METER_BEGIN;
		int			periods = 0;

		meter_round(&rounded, timeline, (MeterKeyed) below(2),
					(MeterRounding) rounding, &grid,
					timeline->has_last && below(2) ? timeline->last : METER_END);
		if (rounded.nspans > 0 && rounded.spans[0].begin == METER_BEGIN)
			from = 0;
		meter_cut_begin(&cutter, &rounded, &grid, from, METER_LIMIT - 1);
		(void) meter_cut_window(&cutter);
		meter_cut_begin(&cutter, &rounded, &grid, from, METER_LIMIT - 1);
		while (periods++ < 100 && meter_cut_next(&cutter))
		{
			if (cutter.cut_begin >= cutter.cut_end)
				fail(input, "a period is empty");
		}
		pfree(rounded.spans);
	}
}

/* Read the input as bytes. */
static void
try_bytes(const Input *input)
{
	/* exactly as long, so that a read beyond the end is seen */
	uint8	   *copy = palloc(input->length);
	const char *problem = NULL;
	size_t		position = input->length + 1;
	MeterTimeline *timeline;

	memcpy(copy, input->bytes, input->length);
	timeline = meter_decode(copy, input->length, &problem, &position);
	if (timeline == NULL)
	{
		if (problem == NULL || position > input->length)
			fail(input, "refused without reason or position");
	}
	else
	{
		use_timeline(input, timeline);
		if (timeline->natts == 1)
		{
			size_t		length;

			pfree(meter_timeline_to_text(timeline, &length));
		}
	}
	pfree(copy);
}

/* Read the input as a text. */
static void
try_text(const Input *input)
{
	char	   *copy = palloc(input->length);
	const char *problem = NULL;
	size_t		position = input->length + 1;
	MeterTimeline *timeline;

	memcpy(copy, input->bytes, input->length);
	timeline = meter_timeline_from_text(copy, input->length, &problem,
										&position);
	if (timeline == NULL)
	{
		if (problem == NULL || position > input->length)
			fail(input, "refused without reason or position");
	}
	else
	{
		size_t		length;
		size_t		again;
		char	   *text = meter_timeline_to_text(timeline, &length);
		MeterTimeline *back = meter_timeline_from_text(text, length, &problem,
													   &position);

		if (back == NULL)
			fail(input, "its text does not read back");
		else
		{
			char	   *second = meter_timeline_to_text(back, &again);

			if (again != length || memcmp(text, second, length) != 0)
				fail(input, "its text reads back as another");
			pfree(second);
		}
		use_timeline(input, timeline);
		pfree(text);
	}
	pfree(copy);
}

/* Keep an input that is sound. */
static void
keep(int kind, const void *bytes, size_t length)
{
	Input	   *input = &kept[kind][below(KEPT)];

	if (length > LONGEST)
		return;
	memcpy(input->bytes, bytes, length);
	input->length = length;
}

int
main(int argc, char **argv)
{
	time_t		until = time(NULL) + (argc > 2 ? atol(argv[2]) : 10);
	long		inputs = 0;

	unit_seed(argc, argv);
	while (inputs % 256 != 0 || time(NULL) < until)
	{
		Input		input;
		int			kind = (int) below(2);

		if (below(16) == 0)
		{
			MeterTimeline *timeline = random_timeline();
			uint8	   *bytes = palloc(meter_encode_bound(timeline));

			keep(0, bytes, meter_encode(timeline, bytes));
			if (timeline->natts == 1)
			{
				size_t		length;
				char	   *text = meter_timeline_to_text(timeline, &length);

				keep(1, text, length);
				pfree(text);
			}
			pfree(bytes);
		}
		input = kept[kind][below(KEPT)];
		if (below(20) != 0)
			damage(&input, kind);
		if (kind == 0)
			try_bytes(&input);
		else
			try_text(&input);
		inputs++;
	}
	printf("%ld inputs\n", inputs);
	return 0;
}
