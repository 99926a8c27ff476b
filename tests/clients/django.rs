//! A Django project and its admin. Who the client is and what it calls the site by decides whether a form is taken.

use std::fs;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::Proxy;
use crate::program::{found, in_environment, python, run, words};

/// Settings on top of those that a new project has. The names that a site answers to are its own; behind a proxy it
/// takes them, and the scheme, from what the proxy says.
const SETTINGS: &str = "
ALLOWED_HOSTS = ['site.test']
USE_X_FORWARDED_HOST = True
SECURE_PROXY_SSL_HEADER = ('HTTP_X_FORWARDED_PROTO', 'https')
STATIC_ROOT = BASE_DIR / 'static'
";

/// A project as `django-admin` makes it, with a database and a user.
async fn project(folder: &Path) {
    let at = folder.display().to_string();
    let admin = in_environment("django-admin").display().to_string();
    run(&words(&[&admin, "startproject", "site_of_test", &at])).await;
    let settings = folder.join("site_of_test/settings.py");
    let text = fs::read_to_string(&settings).expect("a project has settings") + SETTINGS;
    fs::write(settings, text).expect("they can be written");
    run(&python("django_site.py", &[&at])).await;
}

async fn site(folder: &Path) -> Proxy {
    let at = folder.display();
    let server = in_environment("gunicorn");
    let server = format!(
        "exec {} --chdir {at} --bind 127.0.0.1:$PORT --workers 1 --threads 4 --worker-tmp-dir {at} site_of_test.wsgi",
        server.display()
    );
    crate::proxy(&words(&["sh", "-c", &server]), "").await
}

#[tokio::test]
async fn its_admin_logs_in_adds_a_user_and_deletes_it() {
    let folder = TempDir::new().expect("a folder can be made");
    project(folder.path()).await;
    let proxy = site(folder.path()).await;
    let found = found(&python("django_client.py", &[&format!("http://{}", proxy.address())])).await;
    assert_eq!(
        found,
        json!({
            "turned_away_to": "/admin/login/?next=/admin/",
            "without_token": 403,
            "from_another_origin": 403,
            "by_another_name": 400,
            "wrong_password": "Please enter the correct username and password",
            "logged_in": "/admin/",
            "added": true,
            "changed": true,
            "deleted": true,
            "logged_out": 302,
            "location_of_slash": "/admin/",
        })
    );
}
