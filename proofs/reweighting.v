(** # Re-weighting: the ceiling moves to log(m/α)

The chapter *Re-weighting*. A positive weighs [alpha], a negative [beta m alpha]. *)
From MLCPC Require Export cpc.
Open Scope R_scope.

(** ## The statement *)

(** `def-alpha-cpc`: the weight of a negative. *)
Definition beta (m : nat) (alpha : R) : R := (INR m - alpha) / (INR m - 1).

Section Definitions.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Notation cells := (cells xs ys).

(** `def-alpha-cpc`, the three designs: shared anchor, independent, in-batch. *)
Definition alphaCPC (m : nat) (alpha : R) (g : X -> Y -> R) : R :=
  ∑ x ∈ xs, ∑ y ∈ ys, p x y *
    E ys (py xs p) (m - 1) (fun negatives =>
      ln (INR m * g x y / (alpha * g x y + beta m alpha * ∑ y' ∈ negatives, g x y'))).
Definition alphaCPC_indep (m : nat) (alpha : R) (g : X -> Y -> R) : R :=
  ∑ x ∈ xs, ∑ y ∈ ys, p x y *
    E cells (Q xs ys p) (m - 1) (fun negatives =>
      ln (INR m * g x y / (alpha * g x y + beta m alpha * ∑ z ∈ negatives, g (fst z) (snd z)))).
Definition alphaCPC_batch (n : nat) (alpha : R) (g : X -> Y -> R) : R :=
  E cells (P p) n (fun batch => / INR n * ∑ i ∈ batch,
    ln (INR n * g (fst i) (snd i) / (alpha * g (fst i) (snd i)
      + beta n alpha * (∑ k ∈ batch, g (fst i) (snd k) - g (fst i) (snd i))))).
End Definitions.

Lemma beta_nonneg m alpha : (2 <= m)%nat -> alpha <= INR m -> 0 <= beta m alpha.
Proof.
  intros Hm Ha. apply le_INR in Hm. simpl in Hm. unfold beta.
  apply Rmult_le_pos; [lra|left; apply Rinv_0_lt_compat; lra].
Qed.

Lemma beta_eq m alpha : (2 <= m)%nat -> alpha + INR (m - 1) * beta m alpha = INR m.
Proof.
  intros Hm. rewrite minus_INR by lia. apply le_INR in Hm. simpl in *.
  unfold beta. field. lra.
Qed.

Lemma beta_le_alpha m alpha : (2 <= m)%nat -> 1 <= alpha -> beta m alpha <= alpha.
Proof.
  intros Hm Ha. unfold beta. pose proof (le_INR _ _ Hm) as H2. simpl in H2.
  apply Rmult_le_reg_r with (INR m - 1); [lra|].
  unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra. nra.
Qed.

Lemma beta_1 m : (2 <= m)%nat -> beta m 1 = 1.
Proof. intros Hm. apply le_INR in Hm. simpl in Hm. unfold beta. field. lra. Qed.

(** Every denominator is positive. *)
Lemma den_pos {A} (u : A -> R) m alpha a t : (2 <= m)%nat -> 0 < alpha <= INR m ->
  (forall a, 0 < u a) -> 0 < alpha * u a + beta m alpha * sum t u.
Proof.
  intros Hm Ha Hu. pose proof (beta_nonneg m alpha Hm (proj2 Ha)).
  assert (0 < alpha * u a) by (apply Rmult_lt_0_compat; [apply Ha|apply Hu]).
  assert (0 <= beta m alpha * sum t u); [|lra].
  apply Rmult_le_pos; [assumption|apply sum_nonneg; intros; left; apply Hu].
Qed.

(** ## Step 1: the ceiling *)

(** `prp-alpha-cpc-cap`: each term, on every draw. *)
Lemma alphaCPC_term_cap {A} (u : A -> R) m alpha a t : (2 <= m)%nat -> 0 < alpha <= INR m ->
  (forall a, 0 < u a) ->
  ln (INR m * u a / (alpha * u a + beta m alpha * sum t u)) <= ln (INR m / alpha).
Proof.
  intros Hm Ha Hu. pose proof (den_pos u m alpha a t Hm Ha Hu) as Hd.
  assert (Hm0 : 0 < INR m) by (apply lt_0_INR; lia).
  apply ln_le'; [apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; auto|exact Hd]|].
  apply Rmult_le_reg_r with (alpha * u a + beta m alpha * sum t u); [exact Hd|].
  unfold Rdiv at 1. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
  replace (INR m / alpha * (alpha * u a + beta m alpha * sum t u))
    with (INR m * u a + INR m / alpha * (beta m alpha * sum t u)) by (field; lra).
  assert (0 <= INR m / alpha * (beta m alpha * sum t u)); [|lra].
  apply Rmult_le_pos; [left; apply Rdiv_lt_0_compat; lra|].
  apply Rmult_le_pos; [apply beta_nonneg; [exact Hm|apply Ha]|].
  apply sum_nonneg; intros; left; apply Hu.
Qed.

Section Table.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation cells := (cells xs ys).
Notation P := (P p).
Notation Q := (Q xs ys p).

(** At [alpha = 1] the weights are equal, and this is CPC. *)
Lemma alphaCPC_1 m g : (2 <= m)%nat -> alphaCPC xs ys p m 1 g = CPC xs ys p m g.
Proof.
  intros Hm. unfold alphaCPC, CPC. apply sum_ext; intros x _. apply sum_ext; intros y _. f_equal.
  apply E_ext; intros t _. rewrite beta_1, !Rmult_1_l by exact Hm. reflexivity.
Qed.

(** A number that bounds every term bounds the mean. *)
Lemma mean_table_le (F : X -> Y -> R) c : (forall x y, F x y <= c) ->
  ∑ x ∈ xs, ∑ y ∈ ys, p x y * F x y <= c.
Proof.
  intros HF. apply Rle_trans with (∑ x ∈ xs, ∑ y ∈ ys, p x y * c).
  - apply sum_le; intros x _. apply sum_le; intros y _.
    apply Rmult_le_compat_l; [apply p_table|apply HF].
  - rewrite (sum_ext xs _ (fun x => (∑ y ∈ ys, p x y) * c)) by (intros; apply sum_scal_r).
    rewrite sum_scal_r, (proj2 p_table). lra.
Qed.

(** `prp-alpha-cpc-cap` *)
Theorem alphaCPC_cap m alpha g : (2 <= m)%nat -> 0 < alpha <= INR m -> critic g ->
  alphaCPC xs ys p m alpha g <= ln (INR m / alpha).
Proof.
  intros Hm Ha Hg. unfold alphaCPC. apply mean_table_le. intros x y.
  rewrite <- (E_const ys (py xs p) (py_sum xs ys p p_table) (m - 1) (ln (INR m / alpha))).
  apply E_le; [apply (py_nonneg xs ys p p_table)|]. intros t _.
  apply (alphaCPC_term_cap (g x)); [exact Hm|exact Ha|apply Hg].
Qed.

(** `prp-alpha-cpc-cap`: at [alpha = m] every term is zero. *)
Theorem alphaCPC_m m g : (2 <= m)%nat -> critic g -> alphaCPC xs ys p m (INR m) g = 0.
Proof.
  intros Hm Hg. assert (H2 : 2 <= INR m) by (apply (le_INR 2), Hm). unfold alphaCPC.
  rewrite (sum_ext xs _ (fun _ => 0)); [apply sum_0|]. intros x _.
  rewrite (sum_ext ys _ (fun _ => 0)); [apply sum_0|]. intros y _.
  rewrite (E_ext _ _ _ _ (fun _ => 0)).
  - rewrite E_const by (apply (py_sum xs ys p p_table)). ring.
  - intros t _. unfold beta. replace ((INR m - INR m) / (INR m - 1)) with 0 by (field; lra).
    rewrite Rmult_0_l, Rplus_0_r. assert (0 < INR m * g x y)
      by (apply Rmult_lt_0_compat; [lra|apply Hg]).
    unfold Rdiv. rewrite Rinv_r, ln_1 by lra. reflexivity.
Qed.
End Table.

(** ## Step 2: the weighted share *)

Section Share.
Context {A : Type}.
Variables (l : list A) (p : A -> R) (u : A -> R).
Hypothesis p_nonneg : forall a, 0 <= p a.
Hypothesis p_sum : sum l p = 1.
Hypothesis u_pos : forall a, 0 < u a.
Variables (k : nat) (w0 w : R).        (* k other candidates, N = k + 1 *)
Hypothesis Hw : 0 <= w.
Hypothesis Hw0 : w <= w0.
Hypothesis Hw0' : 0 < w0.
Let W := w0 + INR k * w.

Lemma W_pos : 0 < W.
Proof. unfold W. pose proof (pos_INR k). nra. Qed.

Lemma sum_u_nonneg t : 0 <= sum t u.
Proof. apply sum_nonneg; intros; left; apply u_pos. Qed.

Lemma share_den_pos a t : 0 < w0 * u a + w * sum t u.
Proof.
  pose proof (u_pos a). pose proof (sum_u_nonneg t).
  assert (0 < w0 * u a) by (apply Rmult_lt_0_compat; assumption).
  assert (0 <= w * sum t u) by (apply Rmult_le_pos; assumption). lra.
Qed.


(** Tangent line of the concave map s |-> W s / (w + (w0 - w) s) at s = 1/N. *)
Lemma tangent x S : 0 < x -> x <= S ->
  W * x / (w0 * x + w * (S - x)) <= 1 + INR (k+1) * w / W * (INR (k+1) * x / S - 1).
Proof.
  intros Hx HS. pose proof W_pos as HW.
  assert (HD : 0 < w0 * x + w * (S - x)).
  { assert (0 < w0 * x) by (apply Rmult_lt_0_compat; assumption).
    assert (0 <= w * (S - x)) by (apply Rmult_le_pos; lra). lra. }
  rewrite plus_INR; simpl (INR 1). set (N := INR k + 1) in *.
  assert (HN : 1 <= N) by (unfold N; pose proof (pos_INR k); lra).
  apply Rmult_le_reg_r with (w0 * x + w * (S - x)); [exact HD|].
  unfold Rdiv at 1. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
  assert (HS0 : 0 < S) by lra.
  assert (HWN : W = (w0 - w) + N * w) by (unfold W, N; ring).
  assert (Heq : (1 + N * w / W * (N * x / S - 1)) * (w0 * x + w * (S - x)) - W * x
    = w * (w0 - w) * (N * x - S) ^ 2 / (W * S)).
  { replace w0 with (W - N * w + w) by lra. field. split; lra. }
  assert (0 <= w * (w0 - w) * (N * x - S) ^ 2 / (W * S)); [|lra].
  apply Rmult_le_pos; [|left; apply Rinv_0_lt_compat, Rmult_lt_0_compat; assumption].
  apply Rmult_le_pos; [apply Rmult_le_pos; lra|apply pow2_ge_0].
Qed.

Lemma share_tuple t : length t = (k+1)%nat ->
  sum t (fun a => W * u a / (w0 * u a + w * (sum t u - u a))) <= INR (k+1).
Proof.
  intros Ht. pose proof W_pos as HW.
  assert (HS : forall a, In a t -> u a <= sum t u).
  { clear Ht. induction t as [|b t IH]; intros a Ha; [destruct Ha|]. simpl.
    pose proof (sum_u_nonneg t). pose proof (u_pos b).
    destruct Ha as [->|Ha]; [lra|specialize (IH a Ha); lra]. }
  assert (HS0 : 0 < sum t u).
  { destruct t as [|b t]; [simpl in Ht; lia|]. specialize (HS b (or_introl eq_refl)).
    pose proof (u_pos b); lra. }
  eapply Rle_trans.
  { apply sum_le; intros a Ha. apply tangent; [apply u_pos|apply HS, Ha]. }
  set (c := INR (k+1) * w / W).
  rewrite (sum_ext t _ (fun a => (1 - c) + c * INR (k+1) / sum t u * u a))
    by (intros; field; lra).
  rewrite sum_plus, sum_const, sum_scal, Ht.
  right. field. lra.
Qed.

Theorem share :
  sum l (fun a => p a * E l p k (fun t => W * u a / (w0 * u a + w * sum t u))) <= 1.
Proof.
  pose proof (E_exch l p u k
    (fun a S => W * u a / (w0 * u a + w * (S - u a))) 0) as H.
  assert (H1 : E l p (S k) (fun t =>
     sum t (fun a => W * u a / (w0 * u a + w * (0 + sum t u - u a)))) <= INR (S k)).
  { rewrite <- (E_const l p p_sum (S k) (INR (S k))).
    apply E_le; [exact p_nonneg|]. intros t Ht.
    replace (S k) with (k+1)%nat by lia.
    eapply Rle_trans; [|apply (share_tuple t); lia].
    right; apply sum_ext; intros a _. do 4 f_equal. ring. }
  cbv beta in H. rewrite H in H1.
  assert (HN : 0 < INR (S k)) by (apply lt_0_INR; lia).
  assert (H2 : sum l (fun a => p a * E l p k (fun t =>
      W * u a / (w0 * u a + w * (0 + u a + sum t u - u a)))) <= 1)
    by (apply Rmult_le_reg_l with (INR (S k)); [exact HN|rewrite Rmult_1_r; exact H1]).
  eapply Rle_trans; [|exact H2]. right. apply sum_ext; intros a _. f_equal.
  apply E_ext; intros t _. do 4 f_equal. ring.
Qed.


(** The form that the variational lemma asks for. *)
Theorem share_exp :
  sum l (fun a => p a * exp (E l p k (fun t => ln (W * u a / (w0 * u a + w * sum t u))))) <= 1.
Proof.
  eapply Rle_trans; [|exact share].
  apply sum_le; intros a _. apply Rmult_le_compat_l; [apply p_nonneg|].
  eapply Rle_trans; [apply E_jensen; assumption|].
  apply E_le; [exact p_nonneg|]. intros t _. rewrite exp_ln; [lra|].
  apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; [apply W_pos|apply u_pos]|apply share_den_pos].
Qed.
End Share.

(** For a positive that is lighter than a negative the tangent lies below and the inequality turns. *)
Theorem share_turned {A} (l : list A) (p u : A -> R) k w0 w :
  (forall a, 0 <= p a) -> sum l p = 1 -> (forall a, 0 < u a) -> 0 < w0 <= w ->
  1 <= ∑ a ∈ l, p a * E l p k (fun t => (w0 + INR k * w) * u a / (w0 * u a + w * sum t u)).
Proof.
  intros Hp H1 Hu Hw. set (W := w0 + INR k * w). pose proof (pos_INR k) as Hk.
  assert (HW : 0 < W) by (unfold W; nra).
  assert (HN : 0 < INR (S k)) by (apply lt_0_INR; lia).
  assert (HNk : INR (S k) = INR k + 1) by apply S_INR. set (N := INR (S k)) in *.
  set (c := N * w / W).
  assert (Htan : forall x S, 0 < x <= S ->
    1 + c * (N * x / S - 1) <= W * x / (w0 * x + w * (S - x))).
  { intros x S Hx. assert (HD : 0 < w0 * x + w * (S - x)) by nra.
    apply Rmult_le_reg_r with (w0 * x + w * (S - x)); [exact HD|].
    unfold Rdiv at 2. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
    assert (Heq : W * x - (1 + c * (N * x / S - 1)) * (w0 * x + w * (S - x))
      = w * (w - w0) * (N * x - S) ^ 2 / (W * S)).
    { assert (Hw0 : w0 = W - N * w + w) by (unfold W; rewrite HNk; ring).
      unfold c. rewrite Hw0. field. split; lra. }
    assert (0 <= w * (w - w0) * (N * x - S) ^ 2 / (W * S)); [|lra].
    apply Rmult_le_pos; [|left; apply Rinv_0_lt_compat, Rmult_lt_0_compat; lra].
    apply Rmult_le_pos; [apply Rmult_le_pos; lra|apply pow2_ge_0]. }
  pose proof (E_exch l p u k (fun a S => W * u a / (w0 * u a + w * (S - u a))) 0) as H.
  cbv beta in H. fold N in H.
  assert (H2 : N <= E l p (S k) (fun t =>
     ∑ a ∈ t, W * u a / (w0 * u a + w * (0 + sum t u - u a)))).
  { rewrite <- (E_const l p H1 (S k) N). apply E_le; [exact Hp|]. intros t Ht.
    assert (HS : forall a, In a t -> 0 < u a <= sum t u)
      by (intros a Ha; split; [apply Hu|apply (In_le u); assumption]).
    assert (HS0 : 0 < sum t u).
    { destruct t as [|b t]; [simpl in Ht; lia|]. specialize (HS b (or_introl eq_refl)). lra. }
    apply Rle_trans with (∑ a ∈ t, (1 + c * (N * u a / sum t u - 1))).
    - rewrite (sum_ext t _ (fun a => (1 - c) + c * N / sum t u * u a)) by (intros; field; lra).
      rewrite sum_plus, sum_const, sum_scal, Ht. fold N. right. field. lra.
    - apply sum_le; intros a Ha. rewrite Rplus_0_l. apply Htan, HS, Ha. }
  rewrite H in H2. apply Rmult_le_reg_l with N; [exact HN|]. rewrite Rmult_1_r.
  eapply Rle_trans; [exact H2|]. right. f_equal. apply sum_ext; intros a _. f_equal.
  apply E_ext; intros t _. do 4 f_equal. ring.
Qed.

(** `lem-share-one-positive`: with the weights of the book, [alpha + (m - 1) beta = m]. *)
Theorem share_one_positive {A} (l : list A) (w u : A -> R) m alpha :
  (forall a, 0 <= w a) -> sum l w = 1 -> (forall a, 0 < u a) ->
  (2 <= m)%nat -> 1 <= alpha <= INR m ->
  ∑ a ∈ l, w a * E l w (m - 1) (fun t =>
    INR m * u a / (alpha * u a + beta m alpha * sum t u)) <= 1.
Proof.
  intros Hw H1 Hu Hm [Ha Ham].
  pose proof (share l w u Hw H1 Hu (m-1) alpha (beta m alpha) (beta_nonneg m alpha Hm Ham)
    (beta_le_alpha m alpha Hm Ha) ltac:(lra)) as H.
  rewrite (beta_eq m alpha Hm) in H. exact H.
Qed.

(** `lem-share-one-positive`: below one the inequality turns round. *)
Theorem share_one_positive_turned {A} (l : list A) (w u : A -> R) m alpha :
  (forall a, 0 <= w a) -> sum l w = 1 -> (forall a, 0 < u a) ->
  (2 <= m)%nat -> 0 < alpha <= 1 ->
  1 <= ∑ a ∈ l, w a * E l w (m - 1) (fun t =>
    INR m * u a / (alpha * u a + beta m alpha * sum t u)).
Proof.
  intros Hw H1 Hu Hm Ha. assert (H2 : 2 <= INR m) by (apply (le_INR 2), Hm).
  assert (Hab : alpha <= beta m alpha).
  { unfold beta. apply Rmult_le_reg_r with (INR m - 1); [lra|].
    unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra. nra. }
  pose proof (share_turned l w u (m - 1) alpha (beta m alpha) Hw H1 Hu (conj (proj1 Ha) Hab)) as H.
  rewrite (beta_eq m alpha Hm) in H. exact H.
Qed.

(** ## Step 3: one random number decides *)

(** `prp-alpha-one-law`: a law has letters [l], probabilities [w], positive values [u]. *)
Definition law {A} (l : list A) (w u : A -> R) : Prop :=
  (forall a, 0 <= w a) /\ sum l w = 1 /\ (forall a, 0 < u a).

(** [Phi] of a law, with [k = m - 1] independent copies. *)
Definition Phi {A} (l : list A) (w u : A -> R) (m : nat) (alpha : R) : R :=
  ∑ a ∈ l, w a * (INR m * u a *
    exp (- E l w (m - 1) (fun t => ln (alpha * u a + beta m alpha * sum t u)))).

(** [alpha] is a valid weight for [m] candidates. *)
Definition valid (m : nat) (alpha : R) : Prop :=
  forall (A : Type) (l : list A) (w u : A -> R), law l w u -> Phi l w u m alpha <= 1.

(** The other way to write [Phi]. *)
Lemma Phi_alt {A} (l : list A) w u m alpha : law l w u -> (2 <= m)%nat -> 0 < alpha <= INR m ->
  Phi l w u m alpha = sum l (fun a => w a * exp (E l w (m - 1) (fun t =>
    ln (INR m * u a / (alpha * u a + beta m alpha * sum t u))))).
Proof.
  intros (Hw & H1 & Hu) Hm Ha. unfold Phi. apply sum_ext; intros a _. f_equal.
  assert (HW : 0 < INR m) by (apply lt_0_INR; lia).
  assert (Hmu : 0 < INR m * u a) by (apply Rmult_lt_0_compat; auto).
  rewrite <- (exp_ln (INR m * u a)) at 1 by assumption.
  rewrite <- exp_plus. f_equal.
  rewrite <- (E_const l w H1 (m-1) (ln (INR m * u a))).
  replace (- E l w (m-1) (fun t => ln (alpha * u a + beta m alpha * sum t u)))
    with ((-1) * E l w (m-1) (fun t => ln (alpha * u a + beta m alpha * sum t u))) by ring.
  rewrite <- E_scal, <- E_plus. apply E_ext; intros t _.
  rewrite ln_div'; [ring|exact Hmu|apply den_pos; assumption].
Qed.

(** Weights of at least one are valid: exchangeability and Jensen. *)
Theorem valid_ge_1 m alpha : (2 <= m)%nat -> 1 <= alpha <= INR m -> valid m alpha.
Proof.
  intros Hm Ha A l w u HL. rewrite Phi_alt by (try assumption; lra).
  destruct HL as (Hw & H1 & Hu).
  pose proof (share_exp l w u Hw H1 Hu (m-1) alpha (beta m alpha)
    (beta_nonneg m alpha Hm (proj2 Ha)) (beta_le_alpha m alpha Hm (proj1 Ha)) ltac:(lra)) as H.
  rewrite (beta_eq m alpha Hm) in H. exact H.
Qed.

Section Valid.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation cells := (cells xs ys).
Notation P := (P p).
Notation Q := (Q xs ys p).

Lemma law_row (g : X -> Y -> R) x : critic g -> law ys (py xs p) (g x).
Proof.
  intros Hg. split; [apply (py_nonneg xs ys p p_table)|].
  split; [apply (py_sum xs ys p p_table)|apply Hg].
Qed.

Lemma law_cells (g : X -> Y -> R) : critic g -> law cells Q (fun z => g (fst z) (snd z)).
Proof.
  intros Hg. split; [apply (Q_nonneg xs ys p p_table)|].
  split; [apply (Q_sum xs ys p p_table)|intros z; apply Hg].
Qed.

(** `prp-alpha-one-law`, "if": shared anchors. *)
Theorem valid_CPC m alpha g : valid m alpha -> (2 <= m)%nat -> 0 < alpha <= INR m -> critic g ->
  alphaCPC xs ys p m alpha g <= I xs ys p.
Proof.
  intros HV Hm Ha Hg. unfold alphaCPC.
  apply (variational_rows xs ys p p_table (fun x y => E ys (py xs p) (m - 1) (fun t =>
    ln (INR m * g x y / (alpha * g x y + beta m alpha * sum t (g x)))))).
  intros x. pose proof (HV Y ys (py xs p) (g x) (law_row g x Hg)) as HP.
  rewrite Phi_alt in HP; [exact HP|apply law_row; exact Hg|exact Hm|exact Ha].
Qed.

(** `prp-alpha-one-law`, "if": independent negatives. *)
Theorem valid_CPC_indep m alpha g : valid m alpha -> (2 <= m)%nat -> 0 < alpha <= INR m ->
  critic g -> alphaCPC_indep xs ys p m alpha g <= I xs ys p.
Proof.
  intros HV Hm Ha Hg.
  pose proof (variational_table xs ys p p_table (fun z => E cells Q (m - 1) (fun t =>
    ln (INR m * g (fst z) (snd z) / (alpha * g (fst z) (snd z)
      + beta m alpha * ∑ z' ∈ t, g (fst z') (snd z')))))) as H.
  unfold mutual_information.cells at 3 in H. rewrite (sum_prod xs ys (fun z => P z * _)) in H.
  apply H. pose proof (HV _ _ _ _ (law_cells g Hg)) as HP.
  rewrite Phi_alt in HP; [exact HP|apply law_cells; exact Hg|exact Hm|exact Ha].
Qed.

(** In-batch rows have the expectation of shared anchors. *)
Theorem alphaCPC_rows n alpha g : (1 <= n)%nat ->
  alphaCPC_batch xs ys p n alpha g = alphaCPC xs ys p n alpha g.
Proof.
  intros Hn. unfold alphaCPC_batch, alphaCPC.
  rewrite (row_of_batch xs ys p n g
    (fun x y S => ln (INR n * g x y / (alpha * g x y + beta n alpha * (S - g x y)))) Hn).
  apply sum_ext; intros x _. apply sum_ext; intros y _. f_equal. apply E_ext; intros t _.
  do 4 f_equal. ring.
Qed.

Theorem valid_CPC_batch n alpha g : valid n alpha -> (2 <= n)%nat -> 0 < alpha <= INR n ->
  critic g -> alphaCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros HV Hn Ha Hg. rewrite alphaCPC_rows by lia. apply valid_CPC; assumption.
Qed.

(** `thm-alpha-cpc`, the three designs. *)
Theorem CPC_valid m alpha g : (2 <= m)%nat -> 1 <= alpha <= INR m -> critic g ->
  alphaCPC xs ys p m alpha g <= I xs ys p.
Proof. intros Hm Ha Hg. apply valid_CPC; [apply valid_ge_1; assumption|exact Hm|lra|exact Hg]. Qed.

Theorem CPC_indep_valid m alpha g : (2 <= m)%nat -> 1 <= alpha <= INR m -> critic g ->
  alphaCPC_indep xs ys p m alpha g <= I xs ys p.
Proof.
  intros Hm Ha Hg. apply valid_CPC_indep; [apply valid_ge_1; assumption|exact Hm|lra|exact Hg].
Qed.

Theorem CPC_batch_valid n alpha g : (2 <= n)%nat -> 1 <= alpha <= INR n -> critic g ->
  alphaCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros Hm Ha Hg. apply valid_CPC_batch; [apply valid_ge_1; assumption|exact Hm|lra|exact Hg].
Qed.

(** ## Convex in the weight *)

(** `prp-alpha-convex` *)
Theorem alphaCPC_convex m a0 a1 s g : (2 <= m)%nat -> 0 < a0 <= INR m -> 0 < a1 <= INR m ->
  0 <= s <= 1 -> critic g ->
  alphaCPC xs ys p m ((1 - s) * a0 + s * a1) g
  <= (1 - s) * alphaCPC xs ys p m a0 g + s * alphaCPC xs ys p m a1 g.
Proof.
  intros Hm H0 H1 Hs Hg. unfold alphaCPC.
  rewrite <- !sum_scal, <- sum_plus. apply sum_le; intros x _.
  rewrite <- !sum_scal, <- sum_plus. apply sum_le; intros y _.
  set (F := fun alpha t => ln (INR m * g x y / (alpha * g x y + beta m alpha * sum t (g x)))).
  change (p x y * E ys (py xs p) (m - 1) (F ((1 - s) * a0 + s * a1))
    <= (1 - s) * (p x y * E ys (py xs p) (m - 1) (F a0))
     + s * (p x y * E ys (py xs p) (m - 1) (F a1))).
  replace ((1 - s) * (p x y * E ys (py xs p) (m - 1) (F a0))
     + s * (p x y * E ys (py xs p) (m - 1) (F a1)))
    with (p x y * ((1 - s) * E ys (py xs p) (m - 1) (F a0) + s * E ys (py xs p) (m - 1) (F a1)))
    by ring.
  apply Rmult_le_compat_l; [apply p_table|]. rewrite <- !E_scal, <- E_plus.
  apply E_le; [apply (py_nonneg xs ys p p_table)|]. intros t _.
  assert (Hmg : 0 < INR m * g x y)
    by (apply Rmult_lt_0_compat; [apply lt_0_INR; lia|apply Hg]).
  assert (Hd0 := den_pos (g x) m a0 y t Hm H0 (Hg x)).
  assert (Hd1 := den_pos (g x) m a1 y t Hm H1 (Hg x)).
  assert (Hd : (1 - s) * a0 + s * a1 <= INR m /\ 0 < (1 - s) * a0 + s * a1) by nra.
  assert (Hd2 := den_pos (g x) m _ y t Hm (conj (proj2 Hd) (proj1 Hd)) (Hg x)).
  unfold F. rewrite !ln_div' by assumption.
  pose proof (ln_mix s _ _ Hs Hd0 Hd1) as HL.
  assert (Haff : (1 - s) * (a0 * g x y + beta m a0 * sum t (g x))
      + s * (a1 * g x y + beta m a1 * sum t (g x))
    = ((1 - s) * a0 + s * a1) * g x y + beta m ((1 - s) * a0 + s * a1) * sum t (g x)).
  { unfold beta. field. apply (le_INR 2) in Hm. simpl in Hm. lra. }
  rewrite Haff in HL. lra.
Qed.

(** `prp-alpha-convex`: among the weights of at least one, [alpha = 1] is the best. *)
Theorem alphaCPC_le_max m alpha g : (2 <= m)%nat -> 1 <= alpha <= INR m -> critic g ->
  alphaCPC xs ys p m alpha g <= Rmax 0 (alphaCPC xs ys p m 1 g).
Proof.
  intros Hm Ha Hg. assert (H2 : 2 <= INR m) by (apply (le_INR 2), Hm).
  set (s := (alpha - 1) / (INR m - 1)).
  assert (Hs : 0 <= s <= 1).
  { unfold s. split; [apply Rmult_le_pos; [lra|left; apply Rinv_0_lt_compat; lra]|].
    apply Rmult_le_reg_r with (INR m - 1); [lra|]. unfold Rdiv.
    rewrite Rmult_assoc, Rinv_l; lra. }
  pose proof (alphaCPC_convex m 1 (INR m) s g Hm ltac:(lra) ltac:(lra) Hs Hg) as HC.
  replace ((1 - s) * 1 + s * INR m) with alpha in HC by (unfold s; field; lra).
  rewrite (alphaCPC_m xs ys p p_table m g Hm Hg) in HC.
  pose proof (Rmax_l 0 (alphaCPC xs ys p m 1 g)). pose proof (Rmax_r 0 (alphaCPC xs ys p m 1 g)).
  nra.
Qed.
End Valid.

(** ## Where it fails *)

(** `prp-alpha-below-one` (a): two letters a side agree with probability 3/4. *)
Definition agree (a b : bool) : R := if Bool.eqb a b then 3/8 else 1/8.
Definition five (a b : bool) : R := if Bool.eqb a b then 5 else 1.

Lemma agree_table : table bit bit agree.
Proof. split; [intros [|] [|]; unfold agree; simpl; lra|unfold agree; simpl; lra]. Qed.

Lemma five_critic : critic five.
Proof. intros [|] [|]; unfold five; simpl; lra. Qed.

Lemma agree_I : I bit bit agree = / 8 * ln (729/256).
Proof.
  unfold I, px, py, agree; simpl.
  replace (3/8 / ((3/8 + (1/8 + 0)) * (3/8 + (1/8 + 0)))) with (3/2) by field.
  replace (1/8 / ((3/8 + (1/8 + 0)) * (1/8 + (3/8 + 0)))) with (/2) by field.
  replace (1/8 / ((1/8 + (3/8 + 0)) * (3/8 + (1/8 + 0)))) with (/2) by field.
  replace (3/8 / ((1/8 + (3/8 + 0)) * (1/8 + (3/8 + 0)))) with (3/2) by field.
  replace (729/256) with (3/2 * (3/2) * (3/2) * (3/2) * (3/2) * (3/2) * (/2) * (/2)) by field.
  rewrite !ln_mult by lra. field.
Qed.

(** `prp-alpha-below-one` (a): the value is above the truth. *)
Theorem alphaCPC_below_one : alphaCPC bit bit agree 2 (/ 2) five - I bit bit agree
  = 3/8 * ln (10/9).
Proof.
  rewrite agree_I. unfold alphaCPC, py, agree, five, beta; simpl.
  replace ((1 + 1 - / 2) / (1 + 1 - 1)) with (3/2) by field.
  replace ((1 + 1) * 5 / (/ 2 * 5 + 3/2 * (5 + 0))) with 1 by field.
  replace ((1 + 1) * 5 / (/ 2 * 5 + 3/2 * (1 + 0))) with (5/2) by field.
  replace ((1 + 1) * 1 / (/ 2 * 1 + 3/2 * (5 + 0))) with (/4) by field.
  replace ((1 + 1) * 1 / (/ 2 * 1 + 3/2 * (1 + 0))) with 1 by field.
  rewrite ln_1.
  replace (729/256) with (3 * 3 * 3 * 3 * 3 * 3 * (/4) * (/4) * (/4) * (/4)) by field.
  replace (5/2) with (5 * / 2) by field. replace (10/9) with (5 * /2 * /3 * /3 * 2 * 2) by field.
  replace (/4) with (/2 * /2) by field. rewrite !ln_mult, !ln_Rinv by lra. field.
Qed.

(** ### The converse: a law that breaks [Phi <= 1] gives a table *)

(** The letters 0, ..., K - 1 on a circle. *)
Definition circle (K : nat) : list nat := seq 0 K.
Definition turn (K : nat) (d x : nat) : nat := ((x + d) mod K)%nat.

Lemma circle_shift K d F : (0 < K)%nat -> ∑ x ∈ circle K, F (turn K d x) = sum (circle K) F.
Proof.
  intros HK. rewrite <- (sum_map (turn K d)). apply sum_perm. symmetry.
  apply NoDup_Permutation_bis.
  - apply seq_NoDup.
  - rewrite map_length. lia.
  - intros x Hx. apply in_seq in Hx. apply in_map_iff. unfold turn.
    assert (Hd : (d mod K < K)%nat) by (apply Nat.mod_upper_bound; lia).
    exists ((x + (K - d mod K)) mod K)%nat. split.
    + rewrite Nat.add_mod_idemp_l by lia. rewrite (Nat.div_mod d K) at 2 by lia.
      replace (x + (K - d mod K) + (K * (d / K) + d mod K))%nat
        with (x + (1 + d / K) * K)%nat by nia.
      rewrite Nat.mod_add by lia. apply Nat.mod_small. lia.
    + apply in_seq. split; [lia|]. apply Nat.mod_upper_bound. lia.
Qed.

Lemma circle_sum K c : ∑ x ∈ circle K, c = INR K * c.
Proof. rewrite sum_const. unfold circle. rewrite seq_length. reflexivity. Qed.

Lemma E_shift K d k w F : (0 < K)%nat -> 
  E (circle K) (fun _ => w) k (fun t => F (map (turn K d) t)) = E (circle K) (fun _ => w) k F.
Proof.
  intros HK. revert F; induction k as [|k IH]; intros F; simpl; [reflexivity|].
  rewrite <- (circle_shift K d (fun a => w * E (circle K) (fun _ => w) k (fun t => F (a :: t))) HK).
  apply sum_ext; intros a _. f_equal. apply (IH (fun t => F (turn K d a :: t))).
Qed.

(** `prp-alpha-one-law`, "only if": [K] equally likely values with [Phi > 1] give a table on [K]
letters a side and a critic whose value exceeds the mutual information by [ln Phi]. *)
Section Converse.
Variables (K m : nat) (alpha : R) (u : nat -> R).
Hypothesis HK : (0 < K)%nat.
Hypothesis Hm : (2 <= m)%nat.
Hypothesis Ha : 0 < alpha <= INR m.
Hypothesis u_pos : forall a, 0 < u a.
Let uniform : nat -> R := fun _ => / INR K.
Let F : R := Phi (circle K) uniform u m alpha.
(** The distance from [x] to [y] on the circle; the critic sees nothing else. *)
Definition gap (x y : nat) : nat := turn K (K - x mod K) y.
Definition round_critic (x y : nat) : R := u (gap x y).
Let phi (a : nat) : R := E (circle K) uniform (m - 1) (fun t =>
  ln (INR m * u a / (alpha * u a + beta m alpha * sum t u))).
Definition round_table (x y : nat) : R := / INR K * / INR K * exp (phi (gap x y)) / F.

Let K_pos : 0 < INR K. Proof. apply lt_0_INR, HK. Qed.

Let uniform_law : law (circle K) uniform u.
Proof.
  repeat split.
  - intros a. unfold uniform. left. apply Rinv_0_lt_compat, K_pos.
  - unfold uniform. rewrite circle_sum. apply Rinv_r. lra.
  - exact u_pos.
Qed.

Let F_eq : F = ∑ a ∈ circle K, / INR K * exp (phi a).
Proof. unfold F. rewrite Phi_alt by (try assumption; apply uniform_law). reflexivity. Qed.

Let F_pos : 0 < F.
Proof.
  rewrite F_eq, sum_scal. apply Rmult_lt_0_compat; [apply Rinv_0_lt_compat, K_pos|].
  unfold circle. destruct K as [|k]; [lia|]. simpl.
  assert (0 <= ∑ a ∈ seq 1 k, exp (phi a)) by (apply sum_nonneg; intros; left; apply exp_pos).
  pose proof (exp_pos (phi 0)). lra.
Qed.

Let phi_sum : ∑ a ∈ circle K, exp (phi a) = INR K * F.
Proof. rewrite F_eq, sum_scal. field. lra. Qed.

Let gap_y x G : ∑ y ∈ circle K, G (gap x y) = sum (circle K) G.
Proof. apply (circle_shift K (K - x mod K) G HK). Qed.

Let gap_x y G : In y (circle K) -> ∑ x ∈ circle K, G (gap x y) = sum (circle K) G.
Proof.
  intros Hy. apply in_seq in Hy. rewrite <- (sum_map (fun x => gap x y)). apply sum_perm.
  symmetry. apply NoDup_Permutation_bis.
  - apply seq_NoDup.
  - rewrite map_length. lia.
  - intros d Hd. apply in_seq in Hd. apply in_map_iff.
    exists ((y + (K - d)) mod K)%nat. split.
    + unfold gap, turn. rewrite Nat.mod_mod by lia.
      assert (Hc : (d <= y \/ y < d)%nat) by lia. destruct Hc as [Hc|Hc].
      * replace (y + (K - d))%nat with (y - d + 1 * K)%nat by lia.
        rewrite Nat.mod_add, (Nat.mod_small (y - d)) by lia.
        replace (y + (K - (y - d)))%nat with (d + 1 * K)%nat by lia.
        rewrite Nat.mod_add by lia. apply Nat.mod_small. lia.
      * rewrite (Nat.mod_small (y + (K - d))) by lia.
        replace (y + (K - (y + (K - d))))%nat with d by lia. apply Nat.mod_small. lia.
    + apply in_seq. split; [lia|]. apply Nat.mod_upper_bound. lia.
Qed.

Let marginal_x x : px (circle K) round_table x = / INR K.
Proof.
  unfold px, round_table.
  rewrite (sum_ext _ _ (fun y => (/ INR K * / INR K / F) * exp (phi (gap x y))))
    by (intros; field; split; [lra|]; pose proof F_pos; lra).
  rewrite sum_scal, (gap_y x (fun a => exp (phi a))), phi_sum.
  field. split; [lra|]. pose proof F_pos; lra.
Qed.

Let marginal_y y : In y (circle K) -> py (circle K) round_table y = / INR K.
Proof.
  intros Hy. unfold py, round_table.
  rewrite (sum_ext _ _ (fun x => (/ INR K * / INR K / F) * exp (phi (gap x y))))
    by (intros; field; split; [lra|]; pose proof F_pos; lra).
  rewrite sum_scal, (gap_x y (fun a => exp (phi a)) Hy), phi_sum.
  field. split; [lra|]. pose proof F_pos; lra.
Qed.

Lemma round_is_table : table (circle K) (circle K) round_table.
Proof.
  split.
  - intros x y. unfold round_table. left. apply Rdiv_lt_0_compat; [|exact F_pos].
    repeat apply Rmult_lt_0_compat; try apply Rinv_0_lt_compat; try apply K_pos. apply exp_pos.
  - rewrite (sum_ext _ _ (fun _ => / INR K)) by (intros x _; apply marginal_x).
    rewrite circle_sum. apply Rinv_r. lra.
Qed.

Lemma round_is_critic : critic round_critic.
Proof. intros x y. apply u_pos. Qed.

Theorem converse : alphaCPC (circle K) (circle K) round_table m alpha round_critic
  - I (circle K) (circle K) round_table = ln F.
Proof.
  assert (Hp : ∑ x ∈ circle K, ∑ y ∈ circle K, round_table x y * ln F = ln F).
  { rewrite (sum_ext _ _ (fun x => (∑ y ∈ circle K, round_table x y) * ln F))
      by (intros; apply sum_scal_r).
    rewrite sum_scal_r, (proj2 round_is_table). ring. }
  rewrite <- Hp. unfold alphaCPC, I. rewrite <- sum_minus. apply sum_ext; intros x _.
  rewrite <- sum_minus. apply sum_ext; intros y Hy.
  rewrite <- Rmult_minus_distr_l. f_equal.
  rewrite marginal_x, (marginal_y y Hy).
  replace (round_table x y / (/ INR K * / INR K)) with (exp (phi (gap x y)) / F)
    by (unfold round_table; field; split; [|lra]; pose proof F_pos; lra).
  rewrite ln_div', ln_exp by (try apply exp_pos; exact F_pos).
  assert (HE : E (circle K) (py (circle K) round_table) (m - 1) (fun negatives =>
      ln (INR m * round_critic x y / (alpha * round_critic x y
        + beta m alpha * ∑ y' ∈ negatives, round_critic x y'))) = phi (gap x y)); [|lra].
  unfold phi.
  rewrite <- (E_shift K (K - x mod K) (m - 1) (/ INR K) _ HK).
  transitivity (E (circle K) uniform (m - 1) (fun negatives =>
      ln (INR m * round_critic x y / (alpha * round_critic x y
        + beta m alpha * ∑ y' ∈ negatives, round_critic x y')))).
  - apply E_weights. intros a Hin. apply marginal_y, Hin.
  - apply E_ext; intros t _. rewrite sum_map. reflexivity.
Qed.
End Converse.

(** ## False twins *)

(** The share lemma with a positive lighter than a negative: with weights 1/2 and 3/2 and the
values 1 and 3 the mean is 1.1. *)
Theorem share_twin : ~ forall (w0 w : R), 0 < w0 -> w0 <= w ->
  forall (l : list bool) (p u : bool -> R), (forall a, 0 <= p a) -> sum l p = 1 ->
  (forall a, 0 < u a) ->
  ∑ a ∈ l, p a * E l p 1 (fun t => (w0 + w) * u a / (w0 * u a + w * sum t u)) <= 1.
Proof.
  intros HF.
  specialize (HF (/2) (3/2) ltac:(lra) ltac:(lra) bit (fun _ => /2) (fun a => if a then 3 else 1)
    ltac:(intros; lra) ltac:(simpl; lra) ltac:(intros [|]; lra)).
  simpl in HF.
  replace ((/ 2 + 3/2) * 3 / (/ 2 * 3 + 3/2 * (3 + 0))) with 1 in HF by field.
  replace ((/ 2 + 3/2) * 3 / (/ 2 * 3 + 3/2 * (1 + 0))) with 2 in HF by field.
  replace ((/ 2 + 3/2) * 1 / (/ 2 * 1 + 3/2 * (3 + 0))) with (2/5) in HF by field.
  replace ((/ 2 + 3/2) * 1 / (/ 2 * 1 + 3/2 * (1 + 0))) with 1 in HF by field.
  lra.
Qed.

(** CPC with [alpha = 1/2] is not a bound. *)
Theorem CPC_valid_twin : ~ forall (X Y : Type) (xs : list X) (ys : list Y) p m alpha g,
  table xs ys p -> (2 <= m)%nat -> / 2 <= alpha <= INR m -> critic g ->
  alphaCPC xs ys p m alpha g <= I xs ys p.
Proof.
  intros HF. specialize (HF _ _ _ _ _ 2%nat (/ 2) _ agree_table ltac:(lia)
    ltac:(simpl; lra) five_critic).
  pose proof alphaCPC_below_one as H.
  assert (0 < ln (10/9)) by (rewrite <- ln_1; apply ln_increasing; lra). lra.
Qed.
