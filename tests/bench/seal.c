#include "tests/bench/seal.h"

#include "base/mem.h"
#include "crypto/base64.h"
#include "crypto/key.h"
#include "tests/bench/say.h"

#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

enum { NONCE_SIZE = 12, TAG_SIZE = 16, BYTES_MAX = 64 * 1024 * 1024 };

struct seal {
	EVP_CIPHER_CTX *opening;
	EVP_CIPHER_CTX *closing;
	struct buf bytes; /* for one field at a time */
};

static void must(int verdict)
{
	if (verdict != 1)
		die("AES-256-GCM failed");
}

struct seal *seal_new(const char *key_text)
{
	struct seal *seal = mem_new(struct seal);
	struct key key = {0};
	struct error err;
	if (key_parse(key_text, strlen(key_text), &key, &err) != 0)
		die("%s", err.message);
	const unsigned char *bytes = (const unsigned char *)key.bytes.bytes;
	seal->bytes = BUF_INIT(BYTES_MAX);
	seal->opening = EVP_CIPHER_CTX_new();
	seal->closing = EVP_CIPHER_CTX_new();
	must(EVP_DecryptInit_ex2(seal->opening, EVP_aes_256_gcm(), bytes, NULL, NULL));
	must(EVP_EncryptInit_ex2(seal->closing, EVP_aes_256_gcm(), bytes, NULL, NULL));
	key_release(&key);
	return seal;
}

void seal_free(struct seal *seal)
{
	EVP_CIPHER_CTX_free(seal->opening);
	EVP_CIPHER_CTX_free(seal->closing);
	buf_release(&seal->bytes);
	free(seal);
}

static unsigned char *decode(struct seal *seal, struct json_object *envelope, const char *name)
{
	struct json_object *field;
	struct error err;
	buf_reset(&seal->bytes);
	if (!json_object_object_get_ex(envelope, name, &field) ||
	    base64_decode(&seal->bytes, json_object_get_string(field),
			  (size_t)json_object_get_string_len(field), &err) != 0)
		die("%s of an envelope cannot be read", name);
	return (unsigned char *)seal->bytes.data;
}

void seal_open(struct seal *seal, struct json_object *envelope, struct buf *out)
{
	int count;
	must(EVP_DecryptInit_ex2(seal->opening, NULL, NULL, decode(seal, envelope, "nonce"), NULL));
	must(EVP_CIPHER_CTX_ctrl(seal->opening, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE,
				 decode(seal, envelope, "tag")));
	const unsigned char *ciphertext = decode(seal, envelope, "ciphertext");
	if (buf_reserve(out, seal->bytes.size) != 0)
		die("an envelope is too large");
	unsigned char *plain = (unsigned char *)out->data + out->size;
	must(EVP_DecryptUpdate(seal->opening, plain, &count, ciphertext, (int)seal->bytes.size));
	must(EVP_DecryptFinal_ex(seal->opening, plain + count, &count));
	out->size += seal->bytes.size;
	out->data[out->size] = '\0';
}

static void encode(struct buf *out, const void *bytes, size_t size)
{
	if (base64_encode(out, bytes, size) != 0)
		die("an answer is too large");
}

void seal_close(struct seal *seal, const char *plain, size_t size, struct buf *out)
{
	unsigned char nonce[NONCE_SIZE];
	unsigned char tag[TAG_SIZE];
	int count;
	must(RAND_bytes(nonce, sizeof nonce));
	must(EVP_EncryptInit_ex2(seal->closing, NULL, NULL, nonce, NULL));
	buf_reset(&seal->bytes);
	if (buf_reserve(&seal->bytes, size + TAG_SIZE) != 0)
		die("an answer is too large");
	unsigned char *ciphertext = (unsigned char *)seal->bytes.data;
	must(EVP_EncryptUpdate(seal->closing, ciphertext, &count, (const unsigned char *)plain,
			       (int)size));
	must(EVP_EncryptFinal_ex(seal->closing, ciphertext + count, &count));
	must(EVP_CIPHER_CTX_ctrl(seal->closing, EVP_CTRL_AEAD_GET_TAG, sizeof tag, tag));
	buf_append_str(out, "{\"nonce\":\"");
	encode(out, nonce, sizeof nonce);
	buf_append_str(out, "\",\"ciphertext\":\"");
	encode(out, ciphertext, size);
	buf_append_str(out, "\",\"tag\":\"");
	encode(out, tag, sizeof tag);
	buf_append_str(out, "\"}");
}
