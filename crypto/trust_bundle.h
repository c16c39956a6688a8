/* A file of many trusted certificates, of which only those that a connection asks for are ever
 * parsed: for OpenSSL 3.0 to parse all of a system's roots takes 20 ms and 3 MB. */
#ifndef CRYPTO_TRUST_BUNDLE_H
#define CRYPTO_TRUST_BUNDLE_H

#include <openssl/x509.h>
#include <stdbool.h>

/* The store finds the certificates of the file from then on. False, and nothing was done: the file
 * cannot be read, or has anything in it but certificates as they are (RFC 7468, 5; no "TRUSTED
 * CERTIFICATE", no CRL), and is to be loaded whole. */
bool trust_bundle_load(X509_STORE *store, const char *path);

#endif
