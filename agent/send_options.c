#include "agent/send_options.h"

#include "agent/cmd.h"
#include "agent/limits.h"
#include "base/file.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/str.h"
#include "crypto/base64.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char SEND_HELP[] =
    "Usage: relay-agent send [OPTION…] URL\n\n"
    "Sends a command to the service, waits for its end and prints the target's answer.\n"
    "AUTH_TOKEN is a requestor's token here. Exit status 0 means SUCCESS.\n\n"
    "  -X, --request METHOD        GET, or POST with a body\n"
    "  -H, --header 'NAME: VALUE'  a header, any number of times ('NAME;': without a value)\n"
    "  -d, --data TEXT|@FILE       a raw body; again: joined with &\n"
    "      --data-raw TEXT         the same, @ means nothing\n"
    "      --data-binary TEXT|@FILE  the same as -d, line ends of a file stay\n"
    "      --data-urlencode NAME=VALUE|NAME@FILE  a form field, any number of times\n"
    "  -F, --form NAME=VALUE|NAME=@FILE[;type=TYPE][;filename=NAME]  a multipart field\n"
    "  -I, --head                  HEAD, and print the headers\n"
    "  -i, --include               print status and headers before the body\n"
    "  -k, --insecure              do not verify the target's certificate\n"
    "  -m, --max-time SECONDS      the request's timeout at the target\n"
    "      --max-redirs N          redirects to follow\n"
    "  -o, --output FILE           write the answer there\n"
    "      --encrypt               V2: seal with SECURE_COMMAND_KEY, open the answer with it\n"
    "      --action NAME           another action\n"
    "      --target ID             another agent than AGENT_ID\n"
    "      --ttl SECONDS           how long the command may wait for the agent (default 300)\n"
    "      --json                  print the whole record as JSON, a V2 answer opened\n\n"
    "Example:\n"
    "  COMMAND_SERVICE_URL=https://commands.example.com AGENT_ID=lab-1 ORG_SLUG=acme \\\n"
    "  AUTH_TOKEN=$REQUESTOR_TOKEN relay-agent send -i -d '{\"sample\":7}' \\\n"
    "  http://lims.lab.local/api/samples\n";

enum {
	DEFAULT_TTL_SECONDS = 300,
	OPTION_DATA_RAW = 256,
	OPTION_DATA_BINARY,
	OPTION_DATA_URLENCODE,
	OPTION_MAX_REDIRS,
	OPTION_ENCRYPT,
	OPTION_ACTION,
	OPTION_TARGET,
	OPTION_TTL,
	OPTION_JSON,
};

static const struct option OPTIONS[] = {
    {"request", required_argument, NULL, 'X'},
    {"header", required_argument, NULL, 'H'},
    {"data", required_argument, NULL, 'd'},
    {"data-raw", required_argument, NULL, OPTION_DATA_RAW},
    {"data-binary", required_argument, NULL, OPTION_DATA_BINARY},
    {"data-urlencode", required_argument, NULL, OPTION_DATA_URLENCODE},
    {"form", required_argument, NULL, 'F'},
    {"head", no_argument, NULL, 'I'},
    {"include", no_argument, NULL, 'i'},
    {"insecure", no_argument, NULL, 'k'},
    {"max-time", required_argument, NULL, 'm'},
    {"max-redirs", required_argument, NULL, OPTION_MAX_REDIRS},
    {"output", required_argument, NULL, 'o'},
    {"encrypt", no_argument, NULL, OPTION_ENCRYPT},
    {"action", required_argument, NULL, OPTION_ACTION},
    {"target", required_argument, NULL, OPTION_TARGET},
    {"ttl", required_argument, NULL, OPTION_TTL},
    {"json", no_argument, NULL, OPTION_JSON},
    {NULL, 0, NULL, 0},
};

static const size_t INPUT_MAX_BYTES = 10 * LIMIT_MIB; /* the service takes no more */

/* What the options add up to while they are read. */
struct draft {
	struct send_options *options;
	const char *method;
	struct json_object *headers;
	struct buf raw;
	bool has_raw;
	struct json_object *form;       /* rows of formdata; NULL: none */
	struct json_object *urlencoded; /* rows; NULL: none */
};

static int usage(const char *format, const char *word)
{
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	return cmd_usage_error("send", format, word);
#pragma GCC diagnostic pop
}

bool send_options_encrypt(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++) {
		if (strcmp(argv[i], "--encrypt") == 0)
			return true;
	}
	return false;
}

static int read_input(const char *path, struct buf *out)
{
	struct error err;
	if (file_read(path, out, &err) == 0)
		return 0;
	return cmd_usage_error("send", "%s", err.message);
}

static int add_header(struct draft *draft, const char *text)
{
	const char *colon = strchr(text, ':');
	size_t length = strlen(text);
	bool is_empty = colon == NULL && length > 1 && text[length - 1] == ';';
	if (colon == NULL && !is_empty)
		return usage("-H takes 'Name: value', not '%s'", text);
	size_t name_size = is_empty ? length - 1 : (size_t)(colon - text);
	const char *value = is_empty ? "" : colon + 1;
	value += strspn(value, " \t");
	char *name = mem_strndup(text, name_size);
	struct json_object *item = json_new_object();
	json_set_text(item, name, value);
	json_append(draft->headers, item);
	free(name);
	return 0;
}

/* curl takes line ends out of files with -d. */
static void append_without_line_ends(struct buf *out, const struct buf *in)
{
	for (size_t i = 0; i < in->size; i++) {
		if (in->data[i] != '\r' && in->data[i] != '\n')
			buf_append_char(out, in->data[i]);
	}
}

static int add_data(struct draft *draft, int option, const char *text)
{
	int rc = 0;
	if (draft->has_raw)
		buf_append_char(&draft->raw, '&');
	draft->has_raw = true;
	if (option == OPTION_DATA_RAW || text[0] != '@') {
		buf_append_str(&draft->raw, text);
	} else {
		struct buf file = BUF_INIT(INPUT_MAX_BYTES);
		rc = read_input(text + 1, &file);
		if (rc == 0 && option == OPTION_DATA_BINARY)
			buf_append(&draft->raw, file.data, file.size);
		else if (rc == 0)
			append_without_line_ends(&draft->raw, &file);
		buf_release(&file);
	}
	return rc;
}

static struct json_object *row_new(const char *key, size_t key_size)
{
	struct json_object *row = json_new_object();
	json_set(row, "key", json_new_string(key, key_size));
	return row;
}

static int add_urlencoded(struct draft *draft, const char *text)
{
	const char *separator = text + strcspn(text, "=@");
	if (*separator == '\0')
		return usage("--data-urlencode takes NAME=VALUE or NAME@FILE, not '%s'", text);
	struct json_object *row = row_new(text, (size_t)(separator - text));
	struct buf file = BUF_INIT(INPUT_MAX_BYTES);
	int rc = 0;
	if (*separator == '=')
		json_set_text(row, "value", separator + 1);
	else if ((rc = read_input(separator + 1, &file)) == 0)
		json_set(row, "value", json_new_string(buf_str(&file), file.size));
	if (draft->urlencoded == NULL)
		draft->urlencoded = json_new_array();
	json_append(draft->urlencoded, row);
	buf_release(&file);
	return rc;
}

static const char *file_name_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	return slash != NULL ? slash + 1 : path;
}

/* The file's bytes as base64, which any bytes survive. */
static int set_file_value(struct json_object *row, const char *path)
{
	struct buf bytes = BUF_INIT(INPUT_MAX_BYTES);
	struct buf text = BUF_INIT(2 * INPUT_MAX_BYTES);
	int rc = read_input(path, &bytes);
	base64_encode(&text, bytes.data, bytes.size);
	if (rc == 0) {
		json_set(row, "value", json_new_string(buf_str(&text), text.size));
		json_set_text(row, "encoding", "base64");
	}
	buf_release(&bytes);
	buf_release(&text);
	return rc;
}

static int add_form(struct draft *draft, const char *text)
{
	const char *equals = strchr(text, '=');
	if (equals == NULL)
		return usage("-F takes NAME=VALUE or NAME=@FILE, not '%s'", text);
	struct json_object *row = row_new(text, (size_t)(equals - text));
	char *value = mem_strdup(equals + 1);
	int rc = 0;
	if (value[0] != '@') {
		json_set_text(row, "value", value);
	} else {
		char *rest = NULL;
		char *path = strtok_r(value + 1, ";", &rest);
		json_set_text(row, "filename", file_name_of(path != NULL ? path : ""));
		for (char *part; (part = strtok_r(NULL, ";", &rest)) != NULL;) {
			part += strspn(part, " ");
			if (str_has_prefix(part, "type="))
				json_set_text(row, "contentType", part + strlen("type="));
			else if (str_has_prefix(part, "filename="))
				json_set_text(row, "filename", part + strlen("filename="));
			else
				rc = usage("-F does not know ';%s'", part);
		}
		if (rc == 0)
			rc = set_file_value(row, path != NULL ? path : "");
	}
	if (draft->form == NULL)
		draft->form = json_new_array();
	json_append(draft->form, row);
	free(value);
	return rc;
}

static int set_max_time(struct draft *draft, const char *text)
{
	char *end;
	double seconds = strtod(text, &end);
	if (end == text || *end != '\0' || !isfinite(seconds) || seconds < 0 || seconds > 86400)
		return usage("-m takes a number of seconds up to 86400, not '%s'", text);
	json_set_int64(draft->options->payload, "timeout", (int64_t)ceil(seconds * 1000));
	return 0;
}

static int set_number(const char *option, const char *text, int64_t min, int64_t max, int64_t *out)
{
	int64_t number;
	if (!str_to_int64(text, &number) || number < min || number > max)
		return cmd_usage_error("send",
				       "%s takes a whole number from %lld to %lld, not '%s'",
				       option, (long long)min, (long long)max, text);
	*out = number;
	return 0;
}

static int set_max_redirects(struct draft *draft, const char *text)
{
	int64_t count = 0;
	int rc = set_number("--max-redirs", text, 0, LIMIT_REDIRECTS, &count);
	if (rc == 0)
		json_set_int64(draft->options->payload, "max_redirects", count);
	return rc;
}

static int take_option(struct draft *draft, int option, const char *value)
{
	struct send_options *options = draft->options;
	switch (option) {
	case 'X':
		draft->method = value;
		return 0;
	case 'H':
		return add_header(draft, value);
	case 'd':
	case OPTION_DATA_RAW:
	case OPTION_DATA_BINARY:
		return add_data(draft, option, value);
	case OPTION_DATA_URLENCODE:
		return add_urlencoded(draft, value);
	case 'F':
		return add_form(draft, value);
	case 'I':
		draft->method = "HEAD";
		options->includes_headers = true;
		return 0;
	case 'i':
		options->includes_headers = true;
		return 0;
	case 'k':
		json_set_bool(options->payload, "ignore_tls_certificate", true);
		return 0;
	case 'm':
		return set_max_time(draft, value);
	case OPTION_MAX_REDIRS:
		return set_max_redirects(draft, value);
	case 'o':
		options->output = value;
		return 0;
	case OPTION_ENCRYPT:
		options->is_encrypted = true;
		return 0;
	case OPTION_ACTION:
		options->action = value;
		return 0;
	case OPTION_TARGET:
		options->target = value;
		return 0;
	case OPTION_TTL:
		return set_number("--ttl", value, 1, 30 * 86400, &options->ttl_seconds);
	case OPTION_JSON:
		options->prints_record = true;
		return 0;
	default: /* getopt has said what is wrong */
		fputs("Try `relay-agent send --help`.\n", stderr);
		return EXIT_USAGE;
	}
}

static void set_body(struct draft *draft, const char *mode, struct json_object *value)
{
	struct json_object *body = json_new_object();
	json_set_text(body, "mode", mode);
	json_set(body, mode, value);
	json_set(draft->options->payload, "body", body);
}

static int complete_payload(struct draft *draft, const char *url)
{
	struct json_object *payload = draft->options->payload;
	int bodies = draft->has_raw + (draft->form != NULL) + (draft->urlencoded != NULL);
	if (bodies > 1)
		return cmd_usage_error("send", "-d, -F and --data-urlencode do not go together");
	const char *method = draft->method;
	if (method == NULL)
		method = bodies > 0 ? "POST" : "GET";
	json_set_text(payload, "method", method);
	json_set_text(payload, "url", url);
	json_set(payload, "headers", json_object_get(draft->headers));
	if (draft->has_raw) {
		if (!str_is_utf8(draft->raw.data, draft->raw.size))
			return cmd_usage_error("send",
					       "-d takes text in UTF-8; send other bytes with "
					       "-F NAME=@FILE");
		set_body(draft, "raw", json_new_string(buf_str(&draft->raw), draft->raw.size));
	} else if (draft->form != NULL) {
		set_body(draft, "formdata", json_object_get(draft->form));
	} else if (draft->urlencoded != NULL) {
		set_body(draft, "urlencoded", json_object_get(draft->urlencoded));
	}
	return 0;
}

static int parse(struct draft *draft, int argc, char **argv)
{
	int rc = 0;
	int option;
	opterr = 1;
	optind = 1;
	while (rc == 0 &&
	       (option = getopt_long(argc, argv, "X:H:d:F:Iikm:o:", OPTIONS, NULL)) != -1)
		rc = take_option(draft, option, optarg);
	if (rc != 0)
		return rc;
	if (optind == argc)
		return cmd_usage_error("send", "the URL is missing");
	if (optind + 1 < argc)
		return usage("\"%s\" is one word too many: one URL at a time", argv[optind + 1]);
	return complete_payload(draft, argv[optind]);
}

int send_options_parse(struct send_options *options, int argc, char **argv)
{
	*options =
	    (struct send_options){.payload = json_new_object(), .ttl_seconds = DEFAULT_TTL_SECONDS};
	struct draft draft = {
	    .options = options, .headers = json_new_array(), .raw = BUF_INIT(INPUT_MAX_BYTES)};
	int rc = parse(&draft, argc, argv);
	if (options->action == NULL)
		options->action = options->is_encrypted ? "TetraScience.Connector.http.Request.V2"
							: "TetraScience.Connector.http.Request";
	json_object_put(draft.headers);
	json_object_put(draft.form);
	json_object_put(draft.urlencoded);
	buf_release(&draft.raw);
	return rc;
}

void send_options_release(struct send_options *options)
{
	json_object_put(options->payload);
	options->payload = NULL;
}
