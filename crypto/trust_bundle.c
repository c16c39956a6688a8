#include "crypto/trust_bundle.h"

#include "base/buf.h"
#include "base/mem.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509_vfy.h>
#include <stdlib.h>
#include <string.h>

enum { BUNDLE_MAX_BYTES = 64 * 1024 * 1024 };

/* Where a certificate is in `der`. */
struct place {
	unsigned long subject; /* its hash, as the names in a hashed folder are */
	size_t at;
	size_t size;
	bool is_in_store;
};

struct trust_bundle {
	struct buf der; /* one certificate behind the other */
	struct place *places;
	size_t count;
	X509_LOOKUP_METHOD *method;
	X509_STORE *store;
};

static void bundle_free(struct trust_bundle *bundle)
{
	X509_LOOKUP_meth_free(bundle->method);
	buf_release(&bundle->der);
	free(bundle->places);
	free(bundle);
}

/* What is inside of the element at *at (DER), whose end that is then too. */
static bool enter(const unsigned char **at, const unsigned char **end)
{
	long size;
	int tag, class;
	if (ASN1_get_object(at, &size, &tag, &class, *end - *at) & 0x80)
		return false;
	*end = *at + size;
	return true;
}

static bool skip(const unsigned char **at, const unsigned char *end)
{
	if (!enter(at, &end))
		return false;
	*at = end;
	return true;
}

static unsigned long hash_of(const X509_NAME *name, bool *is_ok)
{
	int ok = 0;
	unsigned long hash = X509_NAME_hash_ex(name, NULL, NULL, &ok);
	*is_ok = ok != 0;
	return hash;
}

/* RFC 5280, 4.1: version, serial number, signature algorithm, issuer and validity stand before the
 * subject. */
static bool hash_subject(const unsigned char *at, size_t size, unsigned long *hash)
{
	enum { VERSION_TAG = 0xA0, BEFORE_SUBJECT = 4 };
	const unsigned char *end = at + size;
	bool is_ok = enter(&at, &end);
	is_ok = is_ok && enter(&at, &end); /* what is signed of it */
	if (is_ok && at < end && *at == VERSION_TAG)
		is_ok = skip(&at, end);
	for (int i = 0; is_ok && i < BEFORE_SUBJECT; i++)
		is_ok = at < end && skip(&at, end);
	X509_NAME *subject = is_ok ? d2i_X509_NAME(NULL, &at, end - at) : NULL;
	is_ok = subject != NULL;
	if (is_ok)
		*hash = hash_of(subject, &is_ok);
	X509_NAME_free(subject);
	return is_ok;
}

static bool is_plain(const char *label)
{
	return strcmp(label, PEM_STRING_X509) == 0 || strcmp(label, PEM_STRING_X509_OLD) == 0;
}

static bool add(struct trust_bundle *bundle, const unsigned char *der, size_t size)
{
	struct place place = {.at = bundle->der.size, .size = size};
	if (!hash_subject(der, size, &place.subject) || buf_append(&bundle->der, der, size) != 0)
		return false;
	if ((bundle->count & (bundle->count - 1)) == 0) /* 0 or a power of two: it is full */
		bundle->places = mem_realloc_array(
		    bundle->places, bundle->count > 0 ? 2 * bundle->count : 1, sizeof place);
	bundle->places[bundle->count++] = place;
	return true;
}

/* 1: one more; 0: that was the last; -1: not for us. */
static int read_next(struct trust_bundle *bundle, BIO *file)
{
	char *label = NULL;
	char *header = NULL;
	unsigned char *der = NULL;
	long size = 0;
	ERR_clear_error();
	if (PEM_read_bio(file, &label, &header, &der, &size) != 1) {
		unsigned long error = ERR_peek_last_error();
		return ERR_GET_REASON(error) == PEM_R_NO_START_LINE ? 0 : -1;
	}
	bool is_added = is_plain(label) && header[0] == '\0' && add(bundle, der, (size_t)size);
	OPENSSL_free(label);
	OPENSSL_free(header);
	OPENSSL_free(der);
	return is_added ? 1 : -1;
}

static struct trust_bundle *read_all(const char *path)
{
	BIO *file = BIO_new_file(path, "r");
	struct trust_bundle *bundle = mem_new(struct trust_bundle);
	int rc = file != NULL ? 1 : -1;
	bundle->der = BUF_INIT(BUNDLE_MAX_BYTES);
	while (rc == 1)
		rc = read_next(bundle, file);
	BIO_free(file);
	ERR_clear_error();
	if (rc == 0 && bundle->count > 0)
		return bundle;
	bundle_free(bundle);
	return NULL;
}

/* The certificate, which the store owns; NULL: its name is another one with the same hash, or it is
 * none. */
static X509 *move_to_store(struct trust_bundle *bundle, const struct place *place,
			   const X509_NAME *name)
{
	const unsigned char *der = (const unsigned char *)bundle->der.data + place->at;
	X509 *certificate = d2i_X509(NULL, &der, (long)place->size);
	bool is_kept = certificate != NULL &&
		       X509_NAME_cmp(X509_get_subject_name(certificate), name) == 0 &&
		       X509_STORE_add_cert(bundle->store, certificate) == 1;
	X509_free(certificate); /* the store has its own reference */
	return is_kept ? certificate : NULL;
}

/* All of that name go to the store, where OpenSSL looks first, and finds what we no longer give. */
static int find_by_subject(X509_LOOKUP *lookup, X509_LOOKUP_TYPE type, const X509_NAME *name,
			   X509_OBJECT *found)
{
	struct trust_bundle *bundle = X509_LOOKUP_get_method_data(lookup);
	X509 *first = NULL;
	bool is_ok;
	unsigned long hash = hash_of(name, &is_ok);
	for (size_t i = 0; type == X509_LU_X509 && is_ok && i < bundle->count; i++) {
		struct place *place = &bundle->places[i];
		if (place->subject != hash || place->is_in_store)
			continue;
		X509 *certificate = move_to_store(bundle, place, name);
		place->is_in_store = certificate != NULL;
		if (first == NULL)
			first = certificate;
	}
	if (first == NULL || X509_OBJECT_set1_X509(found, first) != 1)
		return 0;
	X509_free(first); /* whoever asked takes a reference of his own, and leaves this one */
	return 1;
}

/* With the store, which connections may hold for longer than whoever made it. */
static void free_lookup(X509_LOOKUP *lookup)
{
	bundle_free(X509_LOOKUP_get_method_data(lookup));
}

static X509_LOOKUP *add_lookup(struct trust_bundle *bundle, X509_STORE *store)
{
	X509_LOOKUP_METHOD *method = X509_LOOKUP_meth_new("a file, a certificate at a time");
	bundle->method = method;
	if (method == NULL || X509_LOOKUP_meth_set_get_by_subject(method, find_by_subject) != 1 ||
	    X509_LOOKUP_meth_set_free(method, free_lookup) != 1)
		return NULL;
	return X509_STORE_add_lookup(store, method);
}

bool trust_bundle_load(X509_STORE *store, const char *path)
{
	struct trust_bundle *bundle = read_all(path);
	if (bundle == NULL)
		return false;
	X509_LOOKUP *lookup = add_lookup(bundle, store);
	if (lookup == NULL) {
		bundle_free(bundle);
		return false;
	}
	bundle->store = store;
	X509_LOOKUP_set_method_data(lookup, bundle);
	return true;
}
