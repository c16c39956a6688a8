#include "agent/cmd.h"
#include "agent/limits.h"
#include "base/file.h"
#include "base/json.h"
#include "crypto/envelope.h"
#include "crypto/key.h"

#include <stdio.h>
#include <stdlib.h>

static const char KEYGEN_HELP[] =
    "Usage: relay-agent keygen\n\n"
    "Prints a new random 256-bit key as 64 hexadecimal digits, for SECURE_COMMAND_KEY.\n\n"
    "Example:\n"
    "  relay-agent keygen > key.txt\n"
    "  SECURE_COMMAND_KEY_FILE=key.txt relay-agent encrypt payload.json\n";

static const char ENCRYPT_HELP[] =
    "Usage: relay-agent encrypt [FILE|-]\n\n"
    "Reads a payload (JSON) and prints its V2 envelope {nonce, ciphertext, tag}, sealed with\n"
    "SECURE_COMMAND_KEY. Without FILE standard input is read.\n\n"
    "Example:\n"
    "  echo '{\"method\":\"GET\",\"url\":\"http://lims.lab.local/\"}' | \\\n"
    "  SECURE_COMMAND_KEY_FILE=key.txt relay-agent encrypt\n";

static const char DECRYPT_HELP[] =
    "Usage: relay-agent decrypt [FILE|-]\n\n"
    "Reads a V2 envelope (JSON) and prints what was sealed in it. SECURE_COMMAND_KEY is tried\n"
    "first, then SECURE_COMMAND_KEY_PREVIOUS. Without FILE standard input is read.\n\n"
    "Example:\n"
    "  SECURE_COMMAND_KEY_FILE=key.txt relay-agent decrypt answer.json\n";

int cmd_keygen(int argc, char **argv)
{
	struct error err;
	if (cmd_wants_help(argc, argv, KEYGEN_HELP, false))
		return 0;
	int rc = cmd_check_operands(argc, argv, 0, 0);
	if (rc != 0)
		return rc;
	struct buf text = BUF_INIT(1024);
	if (key_generate(&text, &err) != 0)
		rc = cmd_failed(&err);
	else
		puts(buf_str(&text));
	buf_wipe(&text);
	return rc;
}

static int seal(const struct settings *settings, const struct buf *in, struct buf *out,
		struct error *err)
{
	if (json_check(in->data, in->size, err) != 0)
		return error_prefix(err, "the payload is not JSON");
	struct aead *key = cmd_open_key(&settings->key, err);
	if (key == NULL)
		return err->code;
	int rc = envelope_seal(key, in->data, in->size, out, err);
	aead_free(key);
	return rc;
}

static int open_with(const struct secret *text, struct json_object *envelope, struct buf *out,
		     struct error *err)
{
	struct aead *key = cmd_open_key(text, err);
	if (key == NULL)
		return err->code;
	int rc = envelope_open(key, envelope, out, err);
	aead_free(key);
	return rc;
}

static int unseal(const struct settings *settings, const struct buf *in, struct buf *out,
		  struct error *err)
{
	struct json_object *envelope;
	if (json_parse_object(buf_str(in), in->size, &envelope, err) != 0)
		return error_prefix(err, "the envelope is not JSON");
	int rc = open_with(&settings->key, envelope, out, err);
	if (rc == ERR_AUTH && secret_is_set(&settings->previous_key))
		rc = open_with(&settings->previous_key, envelope, out, err);
	json_object_put(envelope);
	return rc;
}

static int convert(int argc, char **argv, const char *help,
		   int (*work)(const struct settings *settings, const struct buf *in,
			       struct buf *out, struct error *err))
{
	struct settings settings = {0};
	struct error err;
	struct buf in = BUF_INIT(1024 * LIMIT_MIB);
	struct buf out = BUF_INIT(2048 * LIMIT_MIB);
	if (cmd_wants_help(argc, argv, help, false))
		return 0;
	int rc = cmd_load_settings(&settings, NEED_KEY, &argc, argv);
	if (rc == 0)
		rc = cmd_check_operands(argc, argv, 0, 1);
	if (rc != 0)
		goto out;
	if (file_read(argc > 1 ? argv[1] : "-", &in, &err) != 0 ||
	    work(&settings, &in, &out, &err) != 0) {
		rc = cmd_failed(&err);
		goto out;
	}
	buf_append_char(&out, '\n');
	if (cmd_write(NULL, out.data, out.size, &err) != 0)
		rc = cmd_failed(&err);
out:
	buf_wipe(&in);
	buf_wipe(&out);
	settings_release(&settings);
	return rc;
}

int cmd_encrypt(int argc, char **argv)
{
	return convert(argc, argv, ENCRYPT_HELP, seal);
}

int cmd_decrypt(int argc, char **argv)
{
	return convert(argc, argv, DECRYPT_HELP, unseal);
}
