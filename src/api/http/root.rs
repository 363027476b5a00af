//! `/`: two vendors' protocols on one path, told apart by names that only one of them has.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::Response;

use crate::api::exchange::received::Received;
use crate::api::state::Api;
use crate::api::{aliyun, tencent};

/// Answers a request to `/`.
pub(super) async fn handle(State(api): State<Arc<Api>>, request: Request) -> Response {
    let (received, read) = Received::read(request, &api.state.limits).await;
    match read.is_ok() && tencent::cloud::speaks(&received) {
        true => tencent::cloud::handle(&api, &received).await,
        false => aliyun::rpc::handle(&api, received, read).await,
    }
}
