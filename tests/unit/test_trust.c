#include "crypto/trust.h"

#include "crypto/trust_bundle.h"

#include <criterion/criterion.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct authority {
	EVP_PKEY *key;
	X509 *certificate;
};

static void extend(X509 *certificate, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	cr_assert_not_null(extension);
	X509_add_ext(certificate, extension, -1);
	X509_EXTENSION_free(extension);
}

static X509 *make_certificate(const char *name, EVP_PKEY *key)
{
	static long serial = 1;
	X509 *certificate = X509_new();
	X509_set_version(certificate, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
	X509_gmtime_adj(X509_getm_notBefore(certificate), -3600);
	X509_gmtime_adj(X509_getm_notAfter(certificate), 3600);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC,
				   (const unsigned char *)name, -1, -1, 0);
	X509_set_pubkey(certificate, key);
	return certificate;
}

static struct authority make_authority(const char *name)
{
	struct authority authority = {.key = EVP_EC_gen("P-256")};
	X509 *certificate = authority.certificate = make_certificate(name, authority.key);
	X509_set_issuer_name(certificate, X509_get_subject_name(certificate));
	extend(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE");
	extend(certificate, certificate, NID_subject_key_identifier, "hash");
	cr_assert_gt(X509_sign(certificate, authority.key, EVP_sha256()), 0);
	return authority;
}

static X509 *make_leaf(struct authority *authority)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *certificate = make_certificate("leaf", key);
	X509_set_issuer_name(certificate, X509_get_subject_name(authority->certificate));
	extend(certificate, authority->certificate, NID_authority_key_identifier, "keyid");
	cr_assert_gt(X509_sign(certificate, authority->key, EVP_sha256()), 0);
	EVP_PKEY_free(key);
	return certificate;
}

static void authority_free(struct authority *authority)
{
	EVP_PKEY_free(authority->key);
	X509_free(authority->certificate);
}

/* A file of these, with a comment in front of each as systems have it. */
static char *file_of(struct authority *authorities, size_t count)
{
	static char paths[8][32];
	static int used;
	char *path = paths[used++];
	snprintf(path, sizeof paths[0], "/tmp/trust-XXXXXX");
	FILE *file = fdopen(mkstemp(path), "w");
	for (size_t i = 0; i < count; i++) {
		fprintf(file, "# number %zu\n", i);
		PEM_write_X509(file, authorities[i].certificate);
	}
	fclose(file);
	return path;
}

/* Does it trust what that authority signs, as often as it is asked? */
static bool trusts(struct trust *trust, struct authority *authority)
{
	X509 *leaf = make_leaf(authority);
	SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	int results[2];
	trust_apply(trust, ssl);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(X509_STORE_CTX_init(context, SSL_CTX_get_cert_store(ssl), leaf, NULL),
			     1);
		results[i] = X509_verify_cert(context);
		X509_STORE_CTX_cleanup(context);
	}
	cr_assert_eq(results[0], results[1]);
	X509_STORE_CTX_free(context);
	SSL_CTX_free(ssl);
	X509_free(leaf);
	return results[0] == 1;
}

static struct trust *trust_of(const char *system_file, const char *ca_file)
{
	struct error err;
	setenv("SSL_CERT_FILE", system_file, 1);
	struct trust *trust = trust_new(ca_file, &err);
	cr_assert_not_null(trust, "%s", err.message);
	return trust;
}

Test(trust, every_certificate_of_a_bundle_is_found_and_no_other)
{
	struct authority authorities[5];
	char name[] = "authority 0";
	for (size_t i = 0; i < 5; i++, name[10]++)
		authorities[i] = make_authority(name);
	char *path = file_of(authorities, 4);
	X509_STORE *store = X509_STORE_new();
	cr_assert(trust_bundle_load(store, path));
	cr_assert_eq(sk_X509_OBJECT_num(X509_STORE_get0_objects(store)), 0);
	X509_STORE_free(store);
	struct trust *trust = trust_of(path, NULL);
	for (size_t i = 5; i-- > 0;) {
		cr_assert_eq(trusts(trust, &authorities[i]), i < 4, "%zu", i);
		authority_free(&authorities[i]);
	}
	trust_free(trust);
	unlink(path);
}

Test(trust, keys_that_share_a_name_are_all_found_wherever_they_are)
{
	struct authority authorities[4];
	for (size_t i = 0; i < 4; i++)
		authorities[i] = make_authority("changes its keys");
	char *bundle = file_of(authorities, 2), *own = file_of(&authorities[2], 1);
	struct trust *trust = trust_of(bundle, own);
	for (size_t i = 0; i < 4; i++) {
		cr_assert_eq(trusts(trust, &authorities[i]), i < 3, "%zu", i);
		authority_free(&authorities[i]);
	}
	trust_free(trust);
	unlink(bundle);
	unlink(own);
}

Test(trust, a_store_may_outlive_what_it_was_made_by)
{
	struct authority authority = make_authority("long-lived");
	char *path = file_of(&authority, 1);
	struct trust *trust = trust_of(path, NULL);
	SSL_CTX *ssl = SSL_CTX_new(TLS_client_method());
	X509_STORE_CTX *context = X509_STORE_CTX_new();
	trust_apply(trust, ssl);
	trust_free(trust);
	X509_STORE_CTX_init(context, SSL_CTX_get_cert_store(ssl), authority.certificate, NULL);
	cr_assert_eq(X509_verify_cert(context), 1);
	X509_STORE_CTX_free(context);
	SSL_CTX_free(ssl);
	authority_free(&authority);
	unlink(path);
}

static void append(const char *path, const char *text)
{
	FILE *file = fopen(path, "a");
	fputs(text, file);
	fclose(file);
}

Test(trust, a_file_with_anything_else_in_it_is_loaded_whole)
{
	static const char *const others[] = {
	    "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
	    "-----BEGIN CERTIFICATE-----\nMIIBAjCCAQA=\n-----END CERTIFICATE-----\n",
	    "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
	    "-----BEGIN CERTIFICATE-----\ncut",
	    "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n",
	};
	for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
		struct authority authority = make_authority("first");
		char *path = file_of(&authority, 1);
		X509_STORE *store = X509_STORE_new();
		append(path, others[i]);
		cr_assert_not(trust_bundle_load(store, path), "%zu", i);
		X509_STORE_free(store);
		authority_free(&authority);
		unlink(path);
	}
	/* What OpenSSL writes for a certificate and what it may be trusted for. */
	struct authority authority = make_authority("trusted");
	char *path = file_of(NULL, 0);
	FILE *file = fopen(path, "w");
	PEM_write_X509_AUX(file, authority.certificate);
	fclose(file);
	X509_STORE *store = X509_STORE_new();
	cr_assert_not(trust_bundle_load(store, path));
	X509_STORE_free(store);
	struct trust *trust = trust_of(path, NULL);
	cr_assert(trusts(trust, &authority));
	trust_free(trust);
	authority_free(&authority);
	unlink(path);
}

Test(trust, a_file_without_certificates_trusts_nobody)
{
	struct authority authority = make_authority("nobody");
	char *path = file_of(NULL, 0);
	struct trust *trust = trust_of(path, NULL);
	cr_assert_not(trusts(trust, &authority));
	trust_free(trust);
	trust = trust_of("/nowhere/at/all", NULL);
	cr_assert_not(trusts(trust, &authority));
	trust_free(trust);
	authority_free(&authority);
	unlink(path);
}

Test(trust, an_authority_of_the_operators_that_is_none_is_said)
{
	struct error err;
	char *path = file_of(NULL, 0);
	cr_assert_null(trust_new(path, &err));
	cr_assert_eq(err.code, ERR_INVALID);
	cr_assert_not_null(strstr(err.message, path));
	cr_assert_null(trust_new("/nowhere/at/all", &err));
	unlink(path);
}
