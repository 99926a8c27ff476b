"""Makes an authority and a certificate of its for this host, as files in a folder."""

import pathlib
import sys

import trustme

folder = pathlib.Path(sys.argv[1])
authority = trustme.CA()
authority.cert_pem.write_to_path(folder / "authority.pem")
certificate = authority.issue_cert("localhost", "127.0.0.1")
certificate.private_key_pem.write_to_path(folder / "key.pem")
for link in certificate.cert_chain_pems:
    link.write_to_path(folder / "certificate.pem", append=True)
