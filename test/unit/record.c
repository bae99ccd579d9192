/*
 * record.c
 *	  Promises: an event or measure written as JSON or EDN, however it is
 *	  spelled, reads as the same; it is stored, compared and written as what it is; its
 *	  order is that of its times and fields; packed bytes that are damaged are
 *	  refused or another record, and nothing worse.
 *
 * Random records.  The seed is printed.  Arguments: the seed, and for how many
 * seconds to go on (without: a fixed number of events).
 */
#include <time.h>

#include "core/decimal.h"
#include "core/record.h"
#include "core/instant.h"
#include "standalone/unit.h"

#define RECORDS		20000
#define MAX_NODES	400

static char text_json[1 << 20];
static char text_edn[1 << 20];

/* What a check that fails was about. */
static void
show_texts(void)
{
	printf("%s\n%s\n", text_json, text_edn);
}

/* --- values of any kind ------------------------------------------------- */

typedef enum Kind
{
	K_NULL, K_TRUE, K_FALSE, K_NUMBER, K_STRING, K_INSTANT, K_LIST, K_SET, K_MAP
} Kind;

typedef struct Node
{
	Kind		kind;
	const char *text;			/* string */
	int64		mantissa;		/* number, or instant */
	int			scale;
	int			n;
	struct Node *children[6];
	const char *keys[6];
} Node;

static Node nodes[MAX_NODES];
static int	nnodes;

static const char *const strings[] = {
	"", "a", "geneva-jug", "7a070a3d-66ff-4658-ab08-fe3cecd7c70f", "true",
	"quote \" and \\ back", "tab\tnl\ncr\rbs\bff\f", "\x01\x1f\x7f",
	"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "/", "7A070A3D-66FF-4658-AB08-FE3CECD7C70F",
	"{\"a\":[1,2]}", "; no comment", "1.50", "null", "a longer text that takes more than one hundred and twenty-seven bytes, so that its length is no longer one byte but two of them"
};

static const char *const keys[] = {
	"template", "version", "", "a", "b c", "quote\"d", "\xc3\xa4", "\\", "z.z", "line\nbreak",
	"datacenter", "Zone"
};

static Node *
random_node(int depth)
{
	Node	   *node = &nodes[nnodes++];
	int			i;
	int			first;

	node->kind = (Kind) below(depth > 3 || nnodes > MAX_NODES - 50 ? K_LIST : K_MAP + 1);
	node->n = 0;
	switch (node->kind)
	{
		case K_NUMBER:
			node->mantissa = (int64) below(1000000) * (below(2) ? 1 : 1000000007) * (below(2) ? 1 : -1);
			node->scale = below(8);
			break;
		case K_STRING:
			node->text = strings[below(COUNT(strings))];
			break;
		case K_INSTANT:
			node->mantissa = (int64) below(2000000000) * 1000003;
			break;
		case K_SET:
			/* numbers that are not the same */
			node->n = below(6);
			for (i = 0; i < node->n; i++)
			{
				Node	   *child = &nodes[nnodes++];

				child->kind = K_NUMBER;
				child->mantissa = below(1000) * 10 + i;
				child->scale = 1;
				node->children[i] = child;
			}
			break;
		case K_LIST:
		case K_MAP:
			node->n = below(6);
			first = below(COUNT(keys));
			for (i = 0; i < node->n; i++)
			{
				node->keys[i] = keys[(first + i * 5) % COUNT(keys)];
				node->children[i] = random_node(depth + 1);
			}
			break;
		default:
			break;
	}
	return node;
}

/* --- writing them down --------------------------------------------------- */

static void
put(char **to, const char *text)
{
	size_t		length = strlen(text);

	memcpy(*to, text, length + 1);
	*to += length;
}

static void
put_space(char **to, bool edn)
{
	static const char *const spaces[] = {"", " ", "\n", "\t ", "\r\n"};
	static const char *const edn_spaces[] = {", ", ";c \" }\n", " #_ x ", " #_ #_[ {a b}]:y ", " #_#tag{:k \\}} "};

	put(to, spaces[below(COUNT(spaces))]);
	if (edn && below(4) == 0)
		put(to, edn_spaces[below(COUNT(edn_spaces))]);
}

/* A string, with escapes where they must be and where they may be. */
static void
put_string(char **to, const char *text, bool edn)
{
	*(*to)++ = '"';
	for (; *text != '\0'; text++)
	{
		uint8		byte = (uint8) *text;

		if (byte == '\n' && below(2))
			put(to, "\\n");
		else if (byte == '\t' && below(2))
			put(to, "\\t");
		else if (edn && byte < 0x20 && below(2))
			*(*to)++ = (char) byte;
		else if (byte < 0x20 || (byte < 0x80 && below(10) == 0))
			*to += sprintf(*to, below(2) ? "\\u%04x" : "\\u%04X", byte);
		else if (byte == 0xf0 && below(2))
		{
			put(to, "\\ud83d\\uDE00");
			text += 3;
		}
		else
		{
			if (byte == '"' || byte == '\\')
				*(*to)++ = '\\';
			*(*to)++ = (char) byte;
		}
	}
	*(*to)++ = '"';
	**to = '\0';
}

/* Its decimal, with the zeros that its scale brings along. */
static int
decimal_text(const Node *node, char *to)
{
	uint64		magnitude = node->mantissa < 0 ? -(uint64) node->mantissa : (uint64) node->mantissa;
	uint64		power = 1;
	int			i;

	for (i = 0; i < node->scale; i++)
		power *= 10;
	i = sprintf(to, "%s%llu", node->mantissa < 0 ? "-" : "", (unsigned long long) (magnitude / power));
	if (node->scale > 0)
	{
		to[i++] = '.';
		for (power /= 10; power > 0; power /= 10)
			to[i++] = (char) ('0' + magnitude / power % 10);
	}
	return i;
}

static void
put_number(char **to, const Node *node, bool edn)
{
	if (edn && node->mantissa >= 0 && below(4) == 0)
		*(*to)++ = '+';
	if (below(3) == 0)
		*to += sprintf(*to, "%lld%s%d", (long long) node->mantissa, below(2) ? "e-" : "E-", node->scale);
	else
		*to += decimal_text(node, *to);
	if (edn && below(4) == 0)
		*(*to)++ = 'M';
	**to = '\0';
}

static void
put_instant(char **to, int64 instant, bool edn, bool canonical)
{
	char		text[METER_INSTANT_SIZE + 8];
	int			offset = canonical ? 0 : below(3) * 30 - 30;
	int			length = meter_instant_write(instant + offset * METER_MINUTE, text);

	if (offset != 0)
		length += sprintf(text + length - 1, "%s%02d:%02d", offset < 0 ? "-" : "+", abs(offset) / 60, abs(offset) % 60) - 1;
	else if (!canonical && below(2))
		length += sprintf(text + length - 1, "%s", below(2) ? "+00" : "-0000") - 1;
	text[length] = '\0';
	if (edn && (!canonical || below(2)))
		put(to, below(2) ? "#inst " : "#inst");
	*to += sprintf(*to, "\"%s\"", text);
}

static void
put_key(char **to, const char *key, bool edn)
{
	if (edn && key[0] >= 'a' && strpbrk(key, " \"\\\n") == NULL && below(4) > 0)
	{
		*(*to)++ = ':';
		put(to, key);
	}
	else
		put_string(to, key, edn);
	put_space(to, edn);
	put(to, edn ? " " : ":");
	put_space(to, edn);
}

static void
put_node(char **to, const Node *node, bool edn)
{
	int			first = node->n > 0 && node->kind != K_LIST ? below(node->n) : 0;
	int			i;

	switch (node->kind)
	{
		case K_NULL:
			put(to, edn ? "nil" : "null");
			return;
		case K_TRUE:
			put(to, "true");
			return;
		case K_FALSE:
			put(to, "false");
			return;
		case K_NUMBER:
			put_number(to, node, edn);
			return;
		case K_STRING:
			if (edn && strcmp(node->text, "geneva-jug") == 0 && below(2))
				put(to, ":geneva-jug");
			else if (edn && strcmp(node->text, "a") == 0 && below(2))
				put(to, "\\a");
			else if (edn && strcmp(node->text, strings[3]) == 0 && below(2))
				put(to, "#uuid \"7A070a3d-66ff-4658-AB08-fe3cecd7c70f\"");
			else
				put_string(to, node->text, edn);
			return;
		case K_INSTANT:
			put_instant(to, node->mantissa, edn, !edn);
			return;
		default:
			break;
	}
	put(to, node->kind == K_MAP ? "{" : !edn ? "[" : node->kind == K_SET ? "#{" : "(");
	for (i = 0; i < node->n; i++)
	{
		/* maps in any order, sets too in EDN; in JSON as they are there */
		int			which = node->kind == K_SET && !edn ? i : (first + i) % node->n;

		if (i > 0)
			put(to, edn ? " " : ",");
		put_space(to, edn);
		if (node->kind == K_MAP)
			put_key(to, node->keys[which], edn);
		put_node(to, node->children[which], edn);
		put_space(to, edn);
	}
	put(to, node->kind == K_MAP || (edn && node->kind == K_SET) ? "}" : !edn ? "]" : ")");
}

/* Order the elements of sets as canonical text does, for JSON has no sets. */
static void
order_sets(void)
{
	int			n;

	for (n = 0; n < nnodes; n++)
	{
		Node	   *set = &nodes[n];
		int			i;
		int			j;

		for (i = 1; set->kind == K_SET && i < set->n; i++)
		{
			for (j = i; j > 0; j--)
			{
				char		a[64];
				char		b[64];
				int			alen = decimal_text(set->children[j - 1], a);
				int			blen = decimal_text(set->children[j], b);

				a[meter_decimal_trim(a, alen)] = '\0';
				b[meter_decimal_trim(b, blen)] = '\0';
				if (strcmp(a, b) > 0)
				{
					Node	   *swap = set->children[j];

					set->children[j] = set->children[j - 1];
					set->children[j - 1] = swap;
				}
			}
		}
	}
}

/* --- records -------------------------------------------------------------- */

typedef struct Model
{
	MeterRecordKind kind;
	int64		time;
	int64		end;
	bool		one_time;		/* "time" stands for both */
	const char *fields[METER_NFIELDS];
	Node		value;
	bool		has_value;
	Node		sequence;
	bool		has_sequence;
	int			nattributes;
	const char *names[6];
	Node	   *attributes[6];
} Model;

static void
random_model(Model *model)
{
	int			first = below(COUNT(keys));
	const MeterRecordForm *form;
	int			i;

	nnodes = 0;
	memset(model, 0, sizeof(*model));
	model->time = below(20) == 0 ? METER_FIRST + METER_DAY + below(1000) :
		(int64) below(2000000000) * (below(2) ? METER_SECOND : 1000003) / 2;
	model->kind = (MeterRecordKind) below(METER_RECORD_KINDS);
	form = &meter_record_forms[model->kind];
	model->one_time = below(3) == 0;
	model->end = model->one_time ? model->time :
		model->time + (int64) below(1000) * 1000003;
	for (i = 0; i < METER_ATTRIBUTES; i++)
	{
		bool		required = MeterHasField(form->required, i);

		if (i != METER_VALUE && i != METER_SEQUENCE &&
			MeterHasField(form->fields, i) && (required || below(2)))
			do
				model->fields[i] = strings[below(COUNT(strings))];
			while (required && model->fields[i][0] == '\0');
	}
	model->has_sequence = MeterHasField(form->fields, METER_SEQUENCE) && below(2);
	model->sequence.kind = K_NUMBER;
	model->sequence.mantissa = (int64) below(2000000) - 1000000;
	model->has_value = below(2);
	model->value.kind = K_NUMBER;
	model->value.mantissa = (int64) below(2000000) - 1000000;
	model->value.scale = below(4);
	model->nattributes = below(2) ? 0 : below(6);
	for (i = 0; i < model->nattributes; i++)
	{
		model->names[i] = keys[(first + i * 5) % COUNT(keys)];
		model->attributes[i] = random_node(0);
	}
	order_sets();
}

/* Write a record down in either syntax, its keys in any order. */
static void
write_model(const Model *model, char *text, bool edn)
{
	int			nparts = 1 + METER_NFIELDS + model->nattributes;
	int			first = below(nparts);
	bool		nested = below(4) == 0; /* attributes in a map of their own */
	bool		uuid = below(2);
	bool		any = false;
	int			i;
	int			j;

	put_space(&text, edn);
	put(&text, "{");
	put_space(&text, edn);
	for (i = 0; i < nparts; i++)
	{
		int			part = (first + i) % nparts;
		int			attribute = part - 1 - METER_NFIELDS;
		Node		string = {K_STRING, NULL, 0, 0, 0, {NULL}, {NULL}};

		if (attribute >= 0 && nested)
			continue;
		if (part > 0 && attribute < 0 && part - 1 != METER_VALUE &&
			part - 1 != METER_SEQUENCE &&
			model->fields[part - 1] == NULL &&
			!(part - 1 == METER_ATTRIBUTES && nested && model->nattributes > 0))
			continue;
		if ((part - 1 == METER_VALUE && !model->has_value) ||
			(part - 1 == METER_SEQUENCE && !model->has_sequence))
			continue;
		if (any)
			put(&text, edn ? " " : ",");
		any = true;
		put_space(&text, edn);
		if (part == 0)
		{
			bool		both = model->kind == METER_MEASURE_RECORD && !model->one_time;

			put_key(&text, both ? "start_time" : "time", edn);
			put_instant(&text, model->time, edn, model->time < 0);
			if (both)
			{
				put(&text, edn ? " " : ",");
				put_key(&text, "end_time", edn);
				put_instant(&text, model->end, edn, model->end < 0);
			}
		}
		else if (attribute >= 0)
		{
			put_key(&text, model->names[attribute], edn);
			put_node(&text, model->attributes[attribute], edn);
		}
		else if (part - 1 == METER_VALUE)
		{
			put_key(&text, "value", edn);
			put_node(&text, &model->value, edn);
		}
		else if (part - 1 == METER_SEQUENCE)
		{
			put_key(&text, "sequence", edn);
			put_node(&text, &model->sequence, edn);
		}
		else if (part - 1 == METER_ATTRIBUTES)
		{
			put_key(&text, "attributes", edn);
			put(&text, "{");
			for (j = 0; j < model->nattributes; j++)
			{
				if (j > 0)
					put(&text, edn ? " " : ",");
				put_space(&text, edn);
				put_key(&text, model->names[j], edn);
				put_node(&text, model->attributes[j], edn);
			}
			put(&text, "}");
		}
		else
		{
			put_key(&text, part - 1 == METER_RESOURCE && uuid ? "uuid" :
					meter_field_names[part - 1], edn);
			string.text = model->fields[part - 1];
			put_node(&text, &string, edn);
		}
		put_space(&text, edn);
	}
	put(&text, "}");
	put_space(&text, edn);
}

static void
read_text(MeterRecordKind kind, const char *text, MeterRecord *record)
{
	MeterTextOptions options = {kind, NULL};
	MeterProblem problem;

	if (!meter_record_from_text(&options, text, strlen(text), record, &problem))
	{
		printf("byte %zu: %s\n", problem.position, problem.reason);
		check(false, "it is a record");
	}
}

/* Check a number of a record against the node that it was written from. */
static void
check_number(bool there, const Node *node, MeterAttr field, const char *what)
{
	char		text[64];
	int			expected;

	check(there == (field.len >= 0), what);
	if (!there)
		return;
	expected = meter_decimal_trim(text, decimal_text(node, text));
	check(expected == field.len && memcmp(text, field.data, expected) == 0, what);
}

/* One order of records, whatever it is asked of. */
static int
sign(int number)
{
	return (number > 0) - (number < 0);
}

static void
try_record(void)
{
	static uint8 before[1 << 20];
	static size_t before_size;
	Model		model;
	MeterRecord json;
	MeterRecord edn;
	MeterRecord stored;
	MeterRecord other;
	MeterProblem problem;
	MeterAttr	key;
	MeterAttr	value;
	char	   *one;
	char	   *two;
	uint8	   *bytes;
	uint8	   *again;
	size_t		size;
	size_t		length;
	size_t		length_again;
	int32		at = 0;
	int			n = 0;
	int			i;

	random_model(&model);
	write_model(&model, text_json, false);
	write_model(&model, text_edn, true);
	read_text(model.kind, text_json, &json);
	read_text(model.kind, text_edn, &edn);
	check(meter_record_check(&json, &problem), "it may be stored");
	check(meter_record_order(&json, &edn) == 0, "JSON and EDN say the same");

	/* what was written is what is read */
	check(json.time == model.time, "its time");
	check(model.kind == METER_EVENT_RECORD || json.end == model.end, "its end");
	for (i = 0; i < METER_ATTRIBUTES; i++)
	{
		if (i != METER_VALUE && i != METER_SEQUENCE)
			check(model.fields[i] == NULL ? json.fields[i].len < 0 :
				  (size_t) json.fields[i].len == strlen(model.fields[i]) &&
				  memcmp(json.fields[i].data, model.fields[i], json.fields[i].len) == 0,
				  "its fields");
	}
	check_number(model.has_value, &model.value, json.fields[METER_VALUE], "its value");
	check_number(model.has_sequence, &model.sequence, json.fields[METER_SEQUENCE], "its sequence");

	/* stored, it is the same, and the same bytes */
	bytes = palloc(meter_record_bound(&json));
	again = palloc(meter_record_bound(&edn));
	size = meter_record_write(&json, bytes);
	check(size <= meter_record_bound(&json), "its bound");
	check(meter_record_write(&edn, again) == size, "the same size");
	check(memcmp(bytes, again, size) == 0, "the same bytes");
	check(meter_record_read(bytes, size, &stored), "it can be read");
	check(meter_record_order(&json, &stored) == 0, "it is what was stored");
	one = meter_record_to_text(&stored, &length);
	read_text(model.kind, one, &other);
	check(meter_record_order(&other, &json) == 0, "its text is the same record");
	two = meter_record_to_text(&edn, &length_again);
	check(length == length_again && memcmp(one, two, length) == 0, "one text");

	/* attributes are there, under their names */
	while (meter_attributes_next(stored.fields[METER_ATTRIBUTES], &at, &key, &value))
	{
		bool		known = false;

		for (i = 0; i < model.nattributes; i++)
		{
			if ((size_t) key.len == strlen(model.names[i]) &&
				memcmp(key.data, model.names[i], key.len) == 0)
			{
				known = true;
				if (model.attributes[i]->kind == K_STRING)
				{
					MeterAttr	text = meter_json_text(value);

					check((size_t) text.len == strlen(model.attributes[i]->text) &&
						  memcmp(text.data, model.attributes[i]->text, text.len) == 0,
						  "an attribute's text");
				}
			}
		}
		check(known, "an attribute's name");
		n++;
	}
	check(n == model.nattributes, "all attributes");

	/* an order, and only what is equal has the same bytes */
	if (before_size > 0 && meter_record_read(before, before_size, &other) &&
		other.kind == stored.kind)
	{
		int			cmp = meter_record_order(&other, &stored);

		check(sign(cmp) == -sign(meter_record_order(&stored, &other)), "one order");
		check((cmp == 0) == (size == before_size && memcmp(bytes, before, size) == 0), "equal is the same bytes");
		check(other.time == stored.time || (cmp < 0) == (other.time < stored.time), "times first");
	}
	if (size <= sizeof(before))
	{
		memcpy(before, bytes, size);
		before_size = size;
	}

	/* damaged, nothing bad comes of it */
	for (i = 0; i < 4; i++)
	{
		size_t		cut = below(3) == 0 ? (size_t) below((int) size + 1) : size;
		uint8	   *damaged = palloc(cut);

		memcpy(damaged, bytes, cut);
		if (cut > 0)
			damaged[below((int) cut)] ^= (uint8) (1 << below(8));
		if (meter_record_read(damaged, cut, &other))
		{
			if (other.kind == stored.kind)
				(void) meter_record_order(&other, &stored);
			at = 0;
			while (meter_attributes_next(other.fields[METER_ATTRIBUTES], &at, &key, &value))
				(void) meter_attributes_find(other.fields[METER_ATTRIBUTES], key, &value);
		}
		pfree(damaged);
	}
	pfree(one);
	pfree(two);
	pfree(bytes);
	pfree(again);
}

int
main(int argc, char **argv)
{
	time_t		until = time(NULL) + (argc > 2 ? atol(argv[2]) : 0);

	show_case = show_texts;
	unit_seed(argc, argv);
	do
	{
		try_record();
		history++;
	} while (argc > 2 ? history % 256 != 0 || time(NULL) < until : history < RECORDS);
	printf("%ld records\n", history);
	return 0;
}
