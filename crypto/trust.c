#include "crypto/trust.h"

#include "base/mem.h"
#include "crypto/trust_bundle.h"

#include <dirent.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char SYSTEM_FOLDER[] = "/etc/ssl/certs";
static const char SYSTEM_BUNDLE[] = "/etc/ssl/certs/ca-certificates.crt";

struct trust {
	X509_STORE *store;
};

/* A folder made by c_rehash: certificates are found by the hash of their subject, so only
 * those that are needed are ever read. */
static bool is_hashed_folder(const char *path)
{
	DIR *folder = opendir(path);
	if (folder == NULL)
		return false;
	bool found = false;
	for (const struct dirent *entry; !found && (entry = readdir(folder)) != NULL;) {
		size_t length = strlen(entry->d_name);
		found = length > 2 && strcmp(entry->d_name + length - 2, ".0") == 0;
	}
	closedir(folder);
	return found;
}

static void load_bundle(X509_STORE *store, const char *path)
{
	if (!trust_bundle_load(store, path))
		X509_STORE_load_file(store, path);
}

static void load_system_roots(X509_STORE *store)
{
	const char *file = getenv("SSL_CERT_FILE");
	if (file != NULL && file[0] != '\0')
		load_bundle(store, file);
	else if (is_hashed_folder(SYSTEM_FOLDER))
		X509_STORE_load_path(store, SYSTEM_FOLDER);
	else /* Where there are no roots at all each connection says that it cannot verify. */
		load_bundle(store, SYSTEM_BUNDLE);
	ERR_clear_error();
}

/* OpenSSL does not look into a folder or a bundle for a name that the store has: a root that has the same
 * one with another key, as after a change of keys, must be in the store before. */
static void move_to_store(X509_STORE *store, const X509 *certificate)
{
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	X509_OBJECT *found = X509_OBJECT_new();
	if (context != NULL && found != NULL &&
	    X509_STORE_CTX_init(context, store, NULL, NULL) == 1)
		(void)X509_STORE_CTX_get_by_subject(context, X509_LU_X509,
						    X509_get_subject_name(certificate), found);
	X509_OBJECT_free(found);
	X509_STORE_CTX_free(context);
}

static bool add(X509_STORE *store, X509_OBJECT *object)
{
	X509 *certificate = X509_OBJECT_get0_X509(object);
	if (certificate == NULL)
		return X509_STORE_add_crl(store, X509_OBJECT_get0_X509_CRL(object)) == 1;
	move_to_store(store, certificate);
	return X509_STORE_add_cert(store, certificate) == 1;
}

static bool add_file(X509_STORE *store, const char *path)
{
	X509_STORE *own = X509_STORE_new();
	bool is_ok = own != NULL && X509_STORE_load_file(own, path) == 1;
	STACK_OF(X509_OBJECT) *objects = is_ok ? X509_STORE_get0_objects(own) : NULL;
	for (int i = 0; is_ok && i < sk_X509_OBJECT_num(objects); i++)
		is_ok = add(store, sk_X509_OBJECT_value(objects, i));
	X509_STORE_free(own);
	return is_ok;
}

struct trust *trust_new(const char *ca_file, struct error *err)
{
	struct trust *trust = mem_new(struct trust);
	trust->store = X509_STORE_new();
	if (trust->store == NULL) {
		error_set(err, ERR_MEMORY, "no memory for trusted certificates");
		goto failed;
	}
	load_system_roots(trust->store);
	if (ca_file != NULL && !add_file(trust->store, ca_file)) {
		error_set(err, ERR_INVALID, "%s holds no certificate in PEM form", ca_file);
		ERR_clear_error();
		goto failed;
	}
	return trust;
failed:
	trust_free(trust);
	return NULL;
}

void trust_free(struct trust *trust)
{
	if (trust == NULL)
		return;
	X509_STORE_free(trust->store);
	free(trust);
}

void trust_apply(struct trust *trust, void *ssl_ctx)
{
	SSL_CTX_set1_cert_store(ssl_ctx, trust->store);
}

void trust_explain(long verify_result, const char **code, const char **text)
{
	static const char UNVERIFIABLE[] = "UNABLE_TO_VERIFY_LEAF_SIGNATURE";
	static const struct {
		long result;
		const char *code;
		const char *text;
	} known[] = {
	    {X509_V_ERR_CERT_HAS_EXPIRED, "CERT_HAS_EXPIRED", "certificate has expired"},
	    {X509_V_ERR_CERT_NOT_YET_VALID, "CERT_HAS_EXPIRED", "certificate is not yet valid"},
	    {X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, "DEPTH_ZERO_SELF_SIGNED_CERT",
	     "self-signed certificate"},
	    {X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, UNVERIFIABLE,
	     "self-signed certificate in certificate chain"},
	    /* OpenSSL stops at the missing issuer, before it looks at the signature. */
	    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT, UNVERIFIABLE,
	     "unable to verify the first certificate"},
	    {X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNVERIFIABLE,
	     "unable to verify the first certificate"},
	    {X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, UNVERIFIABLE,
	     "unable to verify the first certificate"},
	};
	*code = NULL;
	*text = NULL;
	if (verify_result == X509_V_OK || verify_result == X509_V_ERR_UNSPECIFIED)
		return;
	*code = "EPROTO";
	*text = X509_verify_cert_error_string(verify_result);
	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
		if (known[i].result == verify_result) {
			*code = known[i].code;
			*text = known[i].text;
			return;
		}
	}
}
