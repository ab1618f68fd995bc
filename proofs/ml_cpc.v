(** # Many positives at once: ML-CPC

The chapter *Many positives at once*: [n] anchors, one normaliser for the whole board. *)
From MLCPC Require Import calculus.
From MLCPC Require Export reweighting.
Open Scope R_scope.

(** The value of the critic on a pair. *)
Definition on {X Y} (g : X -> Y -> R) (z : X * Y) : R := g (fst z) (snd z).

(** ## The game *)

Section Definitions.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Notation cells := (cells xs ys).

(** `def-ml-cpc`, independent: [n] positives from P and [n (m - 1)] fresh pairs from p(x) p(y). *)
Definition MLCPC_indep (n m : nat) (alpha : R) (g : X -> Y -> R) : R :=
  E cells (P p) n (fun positives => E cells (Q xs ys p) (n * (m - 1)) (fun negatives =>
    / INR n * ∑ i ∈ positives, ln (INR n * INR m * on g i /
      (alpha * (∑ j ∈ positives, on g j) + beta m alpha * (∑ j ∈ negatives, on g j))))).

(** A row of the board with a shared anchor: the pair (x, y) and [k] fresh letters of p(y). *)
Definition rows (k : nat) : list ((X * Y) * list Y) := list_prod cells (tuples k ys).
Definition row_probability (r : (X * Y) * list Y) : R := P p (fst r) * tw (py xs p) (snd r).
Definition row_positive (g : X -> Y -> R) (r : (X * Y) * list Y) : R := on g (fst r).
Definition row_negatives (g : X -> Y -> R) (r : (X * Y) * list Y) : R :=
  ∑ y' ∈ snd r, g (fst (fst r)) y'.

(** `def-ml-cpc`, shared anchor: [n] such rows with [m - 1] negatives each. *)
Definition MLCPC_shared (n m : nat) (alpha : R) (g : X -> Y -> R) : R :=
  E (rows (m - 1)) row_probability n (fun board => / INR n * ∑ i ∈ board,
    ln (INR n * INR m * row_positive g i /
      (alpha * (∑ j ∈ board, row_positive g j) + beta m alpha * (∑ j ∈ board, row_negatives g j)))).

(** `def-ml-cpc`, in-batch: [m = n], and the negatives of the anchor [j] are the other letters. *)
Definition MLCPC_batch (n : nat) (alpha : R) (g : X -> Y -> R) : R :=
  E cells (P p) n (fun batch => / INR n * ∑ i ∈ batch,
    ln (INR n * INR n * on g i / (alpha * (∑ j ∈ batch, on g j)
      + beta n alpha * (∑ j ∈ batch, (∑ k ∈ batch, g (fst j) (snd k) - on g j))))).
End Definitions.

(** ## First facts *)

(** `prp-ml-ceiling` on a board: [a] is the weight of a positive, [c] what the negatives add, [K]
the total weight. One term may exceed the cap, the mean of the terms cannot. *)
Lemma board_cap {A} (board : list A) (u : A -> R) a c K : (1 <= length board)%nat ->
  (forall i, 0 < u i) -> 0 < a -> 0 <= c -> 0 < K ->
  / INR (length board) * (∑ i ∈ board, ln (K * u i / (a * sum board u + c)))
  <= ln (K / (INR (length board) * a)).
Proof.
  intros Hn Hu Ha Hc HK. set (n := INR (length board)).
  assert (Hn0 : 0 < n) by (apply lt_0_INR; lia).
  assert (HS : 0 < sum board u).
  { destruct board as [|i b]; [simpl in Hn; lia|]. simpl. pose proof (Hu i).
    assert (0 <= sum b u) by (apply sum_nonneg; intros; left; apply Hu). lra. }
  set (S := sum board u) in *.
  assert (HZ : 0 < a * S + c) by (assert (0 < a * S) by (apply Rmult_lt_0_compat; assumption); lra).
  assert (Hna : 0 < n * a) by (apply Rmult_lt_0_compat; assumption).
  apply Rmult_le_reg_l with n; [exact Hn0|]. rewrite <- Rmult_assoc, Rinv_r, Rmult_1_l by lra.
  apply Rle_trans with (∑ i ∈ board, (ln (K / (n * a)) - 1 + n * a / (a * S + c) * u i)).
  - apply sum_le; intros i _.
    assert (Hq : 0 < n * a * u i / (a * S + c))
      by (apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; auto|exact HZ]).
    pose proof (ln_le_sub1 _ Hq) as Hl.
    rewrite ln_div', (ln_mult (n * a)) in Hl by (auto; apply Rmult_lt_0_compat; auto).
    rewrite !ln_div', (ln_mult K) by (auto; apply Rmult_lt_0_compat; auto).
    replace (n * a / (a * S + c) * u i) with (n * a * u i / (a * S + c)) by (field; lra). lra.
  - rewrite sum_plus, sum_const, sum_scal. fold n. fold S.
    assert (n * a / (a * S + c) * S <= n); [|lra].
    apply Rmult_le_reg_r with (a * S + c); [exact HZ|].
    replace (n * a / (a * S + c) * S * (a * S + c)) with (n * (a * S)) by (field; lra).
    apply Rmult_le_compat_l; lra.
Qed.

(** `prp-ml-rows` on a board: one normaliser for all rows gives less than one for each row. *)
Lemma board_below_rows {A} (board : list A) (u z : A -> R) K : (1 <= length board)%nat ->
  (forall i, In i board -> 0 < u i) -> (forall i, In i board -> 0 < z i) -> 0 < K ->
  ∑ i ∈ board, ln (INR (length board) * K * u i / sum board z)
  <= ∑ i ∈ board, ln (K * u i / z i).
Proof.
  intros Hn Hu Hz HK. set (n := INR (length board)).
  assert (Hn0 : 0 < n) by (apply lt_0_INR; lia).
  assert (HZ : 0 < sum board z).
  { destruct board as [|i b]; [simpl in Hn; lia|]. simpl.
    pose proof (Hz i (or_introl eq_refl)).
    assert (0 <= sum b z) by (apply sum_nonneg; intros j Hj; left; apply Hz; right; exact Hj). lra. }
  set (Z := sum board z) in *.
  apply Rle_trans with (∑ i ∈ board, (ln (K * u i / z i) + (n / Z * z i - 1))).
  - apply sum_le; intros i Hi. specialize (Hu i Hi). specialize (Hz i Hi).
    pose proof (ln_le_sub1 (n * z i / Z)
      ltac:(apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat; assumption|exact HZ])) as Hl.
    rewrite ln_div', ln_mult in Hl by (try assumption; apply Rmult_lt_0_compat; assumption).
    rewrite !ln_div' by (try assumption; repeat apply Rmult_lt_0_compat; assumption).
    rewrite Rmult_assoc, (ln_mult n) by (try assumption; apply Rmult_lt_0_compat; assumption).
    replace (n / Z * z i) with (n * z i / Z) by (field; lra). lra.
  - rewrite sum_plus, sum_minus, sum_scal, sum_const. fold n. fold Z.
    right. field. lra.
Qed.

Section FirstFacts.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation px := (mutual_information.px ys p).
Notation py := (mutual_information.py xs p).
Notation cells := (mutual_information.cells xs ys).
Notation P := (mutual_information.P p).
Notation Q := (mutual_information.Q xs ys p).
Notation p_nonneg := (mutual_information.p_nonneg xs ys p p_table).
Notation p_sum := (mutual_information.p_sum xs ys p p_table).
Notation px_nonneg := (mutual_information.px_nonneg xs ys p p_table).
Notation py_nonneg := (mutual_information.py_nonneg xs ys p p_table).
Notation px_sum := (mutual_information.px_sum xs ys p p_table).
Notation py_sum := (mutual_information.py_sum xs ys p p_table).
Notation P_nonneg := (mutual_information.P_nonneg xs ys p p_table).
Notation Q_nonneg := (mutual_information.Q_nonneg xs ys p p_table).
Notation P_sum := (mutual_information.P_sum xs ys p p_table).
Notation Q_sum := (mutual_information.Q_sum xs ys p p_table).

Lemma row_probability_nonneg r : 0 <= row_probability xs p r.
Proof. apply Rmult_le_pos; [apply P_nonneg|apply tw_nonneg, py_nonneg]. Qed.

Lemma row_probability_sum k : sum (rows xs ys k) (row_probability xs p) = 1.
Proof.
  unfold rows, row_probability. rewrite sum_prod. simpl.
  rewrite (sum_ext cells _ (fun z => P z * 1)).
  - rewrite sum_scal_r, P_sum. ring.
  - intros z _. rewrite sum_scal, tw_sum by (apply py_sum). reflexivity.
Qed.

(** The mean over one row is the sum over x, y and the fresh letters. *)
Lemma mean_row k (F : X -> Y -> list Y -> R) :
  ∑ r ∈ rows xs ys k, row_probability xs p r * F (fst (fst r)) (snd (fst r)) (snd r)
  = ∑ x ∈ xs, ∑ y ∈ ys, p x y * E ys py k (F x y).
Proof.
  unfold rows, mutual_information.cells. rewrite (sum_prod (list_prod xs ys)), (sum_prod xs).
  apply sum_ext; intros x _. apply sum_ext; intros y _.
  rewrite E_tuples, <- sum_scal. apply sum_ext; intros t _.
  unfold row_probability, mutual_information.P; simpl. ring.
Qed.

Lemma on_pos (g : X -> Y -> R) z : critic g -> 0 < on g z. Proof. intros Hg; apply Hg. Qed.
Lemma positive_pos (g : X -> Y -> R) r : critic g -> 0 < row_positive g r.
Proof. intros Hg; apply Hg. Qed.
Lemma negatives_nonneg (g : X -> Y -> R) r : critic g -> 0 <= row_negatives g r.
Proof. intros Hg. apply sum_nonneg; intros; left; apply Hg. Qed.

(** `prp-ml-constants` (3): one anchor, and the value is that of CPC. *)
Theorem shared_1_is_CPC m alpha g :
  MLCPC_shared xs ys p 1 m alpha g = alphaCPC xs ys p m alpha g.
Proof.
  unfold MLCPC_shared, alphaCPC. simpl E. rewrite <- mean_row. apply sum_ext; intros r _. f_equal.
  simpl. unfold row_positive, row_negatives, on. rewrite !Rplus_0_r, Rinv_1, !Rmult_1_l. reflexivity.
Qed.

(** `prp-ml-constants` (2): one constant factor changes nothing. *)
Theorem shared_scale n m alpha g c : 0 < c ->
  MLCPC_shared xs ys p n m alpha (fun x y => c * g x y) = MLCPC_shared xs ys p n m alpha g.
Proof.
  intros Hc. unfold MLCPC_shared. apply E_ext; intros t _. f_equal. apply sum_ext; intros r _.
  f_equal. unfold row_positive, row_negatives, on.
  rewrite sum_scal. rewrite (sum_ext t (fun j => ∑ y' ∈ snd j, c * g (fst (fst j)) y')
    (fun j => c * ∑ y' ∈ snd j, g (fst (fst j)) y')) by (intros; apply sum_scal).
  rewrite sum_scal.
  set (u := g (fst (fst r)) (snd (fst r))).
  set (S1 := sum t _). set (S2 := sum t _).
  replace (alpha * (c * S1) + beta m alpha * (c * S2)) with (c * (alpha * S1 + beta m alpha * S2)) by ring.
  unfold Rdiv. rewrite Rinv_mult.
  transitivity (c * / c * (INR n * INR m * u * / (alpha * S1 + beta m alpha * S2)));
    [ring|rewrite Rinv_r by lra; ring].
Qed.

(** `prp-ml-constants` (1): a constant critic scores zero, since the weights add up to [n m]. *)
Theorem shared_const n m alpha c : (1 <= n)%nat -> (2 <= m)%nat -> 0 < c ->
  MLCPC_shared xs ys p n m alpha (fun _ _ => c) = 0.
Proof.
  intros Hn Hm Hc. unfold MLCPC_shared.
  rewrite <- (E_const (rows xs ys (m - 1)) (row_probability xs p) (row_probability_sum (m - 1)) n 0).
  assert (Hn0 : 0 < INR n) by (apply lt_0_INR; lia). assert (Hm0 : 0 < INR m) by (apply lt_0_INR; lia).
  rewrite !E_tuples. apply sum_ext; intros t Ht. f_equal.
  pose proof (tuples_length _ _ _ Ht) as Hl.
  assert (Hrow : forall r, In r t -> row_negatives (fun _ _ => c) r = INR (m - 1) * c).
  { intros r Hr. unfold row_negatives. rewrite sum_const. f_equal. f_equal.
    assert (Hin : In r (rows xs ys (m - 1))) by (eapply tuples_In; eassumption).
    destruct r as [z s]. apply in_prod_iff in Hin. apply (tuples_length _ _ _ (proj2 Hin)). }
  rewrite (sum_ext t (fun r => row_negatives (fun _ _ => c) r) (fun _ => INR (m - 1) * c) Hrow).
  unfold row_positive, on. rewrite !sum_const, Hl.
  replace (alpha * (INR n * c) + beta m alpha * (INR n * (INR (m - 1) * c)))
    with (INR n * c * (alpha + INR (m - 1) * beta m alpha)) by ring.
  rewrite beta_eq by exact Hm.
  replace (INR n * INR m * c / (INR n * c * INR m)) with 1 by (field; lra).
  rewrite ln_1. ring.
Qed.

(** `prp-ml-ceiling`, the three designs. *)
Theorem MLCPC_shared_cap n m alpha g : (1 <= n)%nat -> (2 <= m)%nat -> 0 < alpha <= INR m ->
  critic g -> MLCPC_shared xs ys p n m alpha g <= ln (INR m / alpha).
Proof.
  intros Hn Hm Ha Hg. unfold MLCPC_shared.
  rewrite <- (E_const (rows xs ys (m - 1)) (row_probability xs p) (row_probability_sum (m - 1)) n
    (ln (INR m / alpha))).
  apply E_le; [exact row_probability_nonneg|]. intros t Ht.
  assert (Hn0 : 0 < INR n) by (apply lt_0_INR; lia). assert (Hm0 : 0 < INR m) by (apply lt_0_INR; lia).
  replace (INR m / alpha) with (INR n * INR m / (INR (length t) * alpha)) by (rewrite Ht; field; lra).
  rewrite <- Ht at 1. apply board_cap; [lia|intros; apply positive_pos, Hg|apply Ha| |].
  - apply Rmult_le_pos; [apply beta_nonneg; [exact Hm|apply Ha]|].
    apply sum_nonneg; intros; apply negatives_nonneg, Hg.
  - apply Rmult_lt_0_compat; assumption.
Qed.

Theorem MLCPC_indep_cap n m alpha g : (1 <= n)%nat -> (2 <= m)%nat -> 0 < alpha <= INR m ->
  critic g -> MLCPC_indep xs ys p n m alpha g <= ln (INR m / alpha).
Proof.
  intros Hn Hm Ha Hg. unfold MLCPC_indep.
  rewrite <- (E_const cells P P_sum n (ln (INR m / alpha))).
  apply E_le; [exact P_nonneg|]. intros t Ht.
  rewrite <- (E_const cells Q Q_sum (n * (m - 1)) (ln (INR m / alpha))).
  apply E_le; [exact Q_nonneg|]. intros s _.
  assert (Hn0 : 0 < INR n) by (apply lt_0_INR; lia). assert (Hm0 : 0 < INR m) by (apply lt_0_INR; lia).
  replace (INR m / alpha) with (INR n * INR m / (INR (length t) * alpha)) by (rewrite Ht; field; lra).
  rewrite <- Ht at 1. apply board_cap; [lia|intros; apply on_pos, Hg|apply Ha| |].
  - apply Rmult_le_pos; [apply beta_nonneg; [exact Hm|apply Ha]|].
    apply sum_nonneg; intros; left; apply on_pos, Hg.
  - apply Rmult_lt_0_compat; assumption.
Qed.

(** The positives of a batch stand among the letters that the anchors see. *)
Lemma on_le_row (g : X -> Y -> R) t i : critic g -> In i t -> on g i <= ∑ k ∈ t, g (fst i) (snd k).
Proof.
  intros Hg Hi. apply (In_le (fun k => g (fst i) (snd k))); [intros; apply Hg|exact Hi].
Qed.

Theorem MLCPC_batch_cap n alpha g : (2 <= n)%nat -> 0 < alpha <= INR n ->
  critic g -> MLCPC_batch xs ys p n alpha g <= ln (INR n / alpha).
Proof.
  intros Hn Ha Hg. unfold MLCPC_batch.
  rewrite <- (E_const cells P P_sum n (ln (INR n / alpha))).
  apply E_le; [exact P_nonneg|]. intros t Ht.
  assert (Hn0 : 0 < INR n) by (apply lt_0_INR; lia).
  replace (INR n / alpha) with (INR n * INR n / (INR (length t) * alpha)) by (rewrite Ht; field; lra).
  rewrite <- Ht at 1. apply board_cap; [lia|intros; apply on_pos, Hg|apply Ha| |].
  - apply Rmult_le_pos; [apply beta_nonneg; [exact Hn|apply Ha]|].
    apply sum_nonneg; intros i Hi. pose proof (on_le_row g t i Hg Hi). lra.
  - apply Rmult_lt_0_compat; assumption.
Qed.

(** `prp-ml-rows`: J is below L, with shared anchors and in the batch. *)
Theorem J_le_L n m alpha g : (1 <= n)%nat -> (2 <= m)%nat -> 0 < alpha <= INR m -> critic g ->
  MLCPC_shared xs ys p n m alpha g <= alphaCPC xs ys p m alpha g.
Proof.
  intros Hn Hm Ha Hg.
  assert (Hn0 : 0 < INR n) by (apply lt_0_INR; lia). assert (Hm0 : 0 < INR m) by (apply lt_0_INR; lia).
  set (T := fun r => ln (INR m * row_positive g r / (alpha * row_positive g r + beta m alpha * row_negatives g r))).
  replace (alphaCPC xs ys p m alpha g)
    with (E (rows xs ys (m - 1)) (row_probability xs p) n (fun t => / INR n * sum t T)).
  - apply E_le; [exact row_probability_nonneg|]. intros t Ht.
    apply Rmult_le_compat_l; [left; apply Rinv_0_lt_compat, Hn0|].
    rewrite <- !sum_scal, <- sum_plus, <- Ht. apply board_below_rows; [lia| | |exact Hm0].
    + intros; apply positive_pos, Hg.
    + intros r _. apply (den_pos (g (fst (fst r))) m alpha (snd (fst r)) (snd r)); auto.
  - rewrite E_scal, E_linear by apply row_probability_sum. unfold T, alphaCPC.
    rewrite <- Rmult_assoc, Rinv_l, Rmult_1_l by lra.
    apply (mean_row (m - 1) (fun x y t => ln (INR m * g x y / (alpha * g x y + beta m alpha * sum t (g x))))).
Qed.

Theorem J_le_L_batch n alpha g : (2 <= n)%nat -> 0 < alpha <= INR n -> critic g ->
  MLCPC_batch xs ys p n alpha g <= alphaCPC_batch xs ys p n alpha g.
Proof.
  intros Hn Ha Hg. assert (Hn0 : 0 < INR n) by (apply lt_0_INR; lia).
  unfold MLCPC_batch, alphaCPC_batch. apply E_le; [exact P_nonneg|]. intros t Ht.
  apply Rmult_le_compat_l; [left; apply Rinv_0_lt_compat, Hn0|].
  rewrite <- !sum_scal, <- sum_plus, <- Ht. apply board_below_rows; [lia| | |rewrite Ht; exact Hn0].
  - intros; apply on_pos, Hg.
  - intros i Hi. rewrite Ht.
    change (0 < alpha * on g i + beta n alpha * (∑ k ∈ t, g (fst i) (snd k) - on g i)).
    pose proof (on_le_row g t i Hg Hi). pose proof (on_pos g i Hg).
    assert (0 < alpha * on g i) by (apply Rmult_lt_0_compat; [apply Ha|assumption]).
    assert (0 <= beta n alpha * (∑ k ∈ t, g (fst i) (snd k) - on g i)); [|lra].
    apply Rmult_le_pos; [apply beta_nonneg; [exact Hn|apply Ha]|lra].
Qed.
End FirstFacts.

(** ## The theorem *)

(** The smallest weight of `thm-ml-cpc`. *)
Definition alpha_min (n m : nat) : R := INR m / (INR n * (INR m - 1) + 1).

Lemma alpha_min_1 m : (2 <= m)%nat -> alpha_min 1 m = 1.
Proof. intros Hm. apply le_INR in Hm. simpl in Hm. unfold alpha_min. simpl. field. lra. Qed.

(** ### Step 1: split the board *)

(** `lem-split`: [a n] is the weight of one heavy positive. *)
Lemma split_log {A} (u : A -> R) (pos : list A) a c n :
  (forall i, 0 < u i) -> 0 < a -> 0 <= c -> (1 <= n)%nat -> length pos = n ->
  forall K, 0 < K ->
  ∑ i ∈ pos, ln (K * u i / (a * sum pos u + c))
  <= ∑ i ∈ pos, ln (K * u i / (a * INR n * u i + c)).
Proof.
  intros Hu Ha Hc Hn Hl K HK. assert (Hn0 : 0 < INR n) by (apply lt_0_INR; lia).
  pose proof (board_below_rows pos u (fun i => a * INR n * u i + c) K ltac:(lia)
    ltac:(intros; apply Hu)
    ltac:(intros i _; assert (0 < a * INR n * u i) by (repeat apply Rmult_lt_0_compat; auto); lra)
    HK) as H.
  rewrite sum_plus, sum_scal, sum_const, Hl in H.
  eapply Rle_trans; [|exact H]. right. apply sum_ext; intros i _. f_equal.
  assert (0 < sum pos u).
  { destruct pos as [|j b]; [simpl in Hl; lia|]. simpl. pose proof (Hu j).
    assert (0 <= sum b u) by (apply sum_nonneg; intros; left; apply Hu). lra. }
  assert (0 < a * sum pos u) by (apply Rmult_lt_0_compat; assumption).
  replace (a * INR n * sum pos u + INR n * c) with (INR n * (a * sum pos u + c)) by ring.
  field. lra.
Qed.

(** ### Step 2: weigh *)

(** `lem-share` (4): the total weight is [n m], and the positive is the heavier one exactly from
[alpha_min] on. *)
Lemma heavy_positive n m alpha : (1 <= n)%nat -> (2 <= m)%nat -> alpha <= INR m ->
  alpha * INR n + INR (n * (m - 1)) * beta m alpha = INR n * INR m /\
  (beta m alpha <= alpha * INR n <-> alpha_min n m <= alpha).
Proof.
  intros Hn Hm Ha. assert (Hn0 : 1 <= INR n) by (apply (le_INR 1), Hn).
  assert (Hm0 : 2 <= INR m) by (apply (le_INR 2), Hm).
  assert (HD : 0 < INR n * (INR m - 1) + 1) by nra. split.
  - rewrite mult_INR, minus_INR by lia. simpl. unfold beta. field. lra.
  - assert (H1 : beta m alpha * (INR m - 1) = INR m - alpha) by (unfold beta; field; lra).
    assert (H2 : alpha_min n m * (INR n * (INR m - 1) + 1) = INR m) by (unfold alpha_min; field; lra).
    split; intros H.
    + apply Rmult_le_reg_r with (INR n * (INR m - 1) + 1); [exact HD|].
      apply Rmult_le_compat_r with (r := INR m - 1) in H; lra.
    + apply Rmult_le_reg_r with (INR m - 1); [lra|].
      apply Rmult_le_compat_r with (r := INR n * (INR m - 1) + 1) in H; lra.
Qed.

Lemma alpha_min_pos n m : (1 <= n)%nat -> (2 <= m)%nat -> 0 < alpha_min n m.
Proof.
  intros Hn Hm. assert (Hn0 : 1 <= INR n) by (apply (le_INR 1), Hn).
  assert (Hm0 : 2 <= INR m) by (apply (le_INR 2), Hm).
  apply Rdiv_lt_0_compat; nra.
Qed.

(** ### Step 3: independent negatives *)

Section Independent.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation px := (mutual_information.px ys p).
Notation py := (mutual_information.py xs p).
Notation cells := (mutual_information.cells xs ys).
Notation P := (mutual_information.P p).
Notation Q := (mutual_information.Q xs ys p).
Notation p_nonneg := (mutual_information.p_nonneg xs ys p p_table).
Notation p_sum := (mutual_information.p_sum xs ys p p_table).
Notation px_nonneg := (mutual_information.px_nonneg xs ys p p_table).
Notation py_nonneg := (mutual_information.py_nonneg xs ys p p_table).
Notation px_sum := (mutual_information.px_sum xs ys p p_table).
Notation py_sum := (mutual_information.py_sum xs ys p p_table).
Notation P_nonneg := (mutual_information.P_nonneg xs ys p p_table).
Notation Q_nonneg := (mutual_information.Q_nonneg xs ys p p_table).
Notation P_sum := (mutual_information.P_sum xs ys p p_table).
Notation Q_sum := (mutual_information.Q_sum xs ys p p_table).

(** `lem-replace-independent`: the plain share of the replaced positive is 1/N. *)
Lemma replace_independent (g : X -> Y -> R) k : critic g ->
  ∑ z ∈ cells, Q z * E cells Q k (fun t => on g z / (on g z + sum t (on g))) = / INR (k + 1).
Proof.
  intros Hg. pose proof (fair_share cells Q (on g) k Q_sum (fun z => on_pos g z Hg)) as H.
  assert (HN : 0 < INR (S k)) by (apply lt_0_INR; lia).
  replace (k + 1)%nat with (S k) by lia.
  apply Rmult_eq_reg_l with (INR (S k)); [|lra]. rewrite Rinv_r, <- sum_scal by lra.
  rewrite <- H. apply sum_ext; intros z _.
  set (e := E cells Q k (fun t => on g z / (on g z + sum t (on g)))).
  replace (INR (S k) * (Q z * e)) with (Q z * (INR (S k) * e)) by ring. f_equal. unfold e.
  rewrite <- E_scal. apply E_ext; intros t _. cbv beta. unfold Rdiv. ring.
Qed.

(** From one heavy positive to the board: the common part of both designs. *)
Lemma indep_of_heavy n m alpha g : (1 <= n)%nat -> (2 <= m)%nat -> 0 < alpha <= INR m -> critic g ->
  let T z := E cells Q (n * (m - 1)) (fun neg =>
    ln (INR n * INR m * on g z / (alpha * INR n * on g z + beta m alpha * sum neg (on g)))) in
  ∑ z ∈ cells, Q z * exp (T z) <= 1 -> MLCPC_indep xs ys p n m alpha g <= I xs ys p.
Proof.
  intros Hn Hm [Ha Ham] Hg T HT.
  assert (Hn0 : 1 <= INR n) by (apply (le_INR 1), Hn).
  assert (Hm0 : 2 <= INR m) by (apply (le_INR 2), Hm).
  apply Rle_trans with (∑ z ∈ cells, P z * T z).
  - apply Rle_trans with (E cells P n (fun pos => / INR n * sum pos T)).
    + apply E_le; [exact P_nonneg|]. intros pos Hpos. unfold T. rewrite <- E_sum, <- E_scal.
      apply E_le; [exact Q_nonneg|]. intros neg _.
      apply Rmult_le_compat_l; [left; apply Rinv_0_lt_compat; lra|].
      apply (split_log (on g)); auto; [intros; apply on_pos, Hg| |apply Rmult_lt_0_compat; lra].
      apply Rmult_le_pos; [apply beta_nonneg; assumption|].
      apply sum_nonneg; intros; left; apply on_pos, Hg.
    + rewrite E_scal, (E_linear _ _ _ _ P_sum). right. field. lra.
  - apply (variational_table xs ys p p_table T HT).
Qed.

(** `thm-ml-cpc`, independent negatives. *)
Theorem MLCPC_indep_valid n m alpha g : (1 <= n)%nat -> (2 <= m)%nat ->
  alpha_min n m <= alpha <= INR m -> critic g -> MLCPC_indep xs ys p n m alpha g <= I xs ys p.
Proof.
  intros Hn Hm [Ha Ham] Hg. pose proof (alpha_min_pos n m Hn Hm).
  destruct (heavy_positive n m alpha Hn Hm Ham) as [HW Hheavy].
  apply indep_of_heavy; try assumption; [lra|].
  assert (Hn0 : 0 < INR n) by (apply lt_0_INR; lia).
  pose proof (share_exp cells Q (on g) Q_nonneg Q_sum (fun z => on_pos g z Hg) (n * (m - 1))
    (alpha * INR n) (beta m alpha) (beta_nonneg m alpha Hm Ham) (proj2 Hheavy Ha)
    ltac:(apply Rmult_lt_0_compat; lra)) as HS.
  rewrite HW in HS. exact HS.
Qed.
End Independent.

(** ### Step 4: shared anchors

[E s <= 1/N] without an improper integral. Let [R] be the sum of the critic over the row of the
replaced positive, [O] the sum over the others, [D t] the mean of [R/(R+O) (1 - exp (-t (R+O)))],
and [U t = (1 - M t ^ (N/m)) / (N/m)]. Then [D] and [U] agree at [t = 0], [D] grows no faster than
[U], and [D t] tends to the mean of [R/(R+O)]. *)
Section Core.
Context {A B : Type}.
Variables (L1 : list A) (v Rv : A -> R) (L2 : list B) (w S : B -> R) (c : nat) (theta : R).
Hypothesis v_nonneg : forall a, 0 <= v a.
Hypothesis v_sum : sum L1 v = 1.
Hypothesis w_nonneg : forall b, 0 <= w b.
Hypothesis w_sum : sum L2 w = 1.
Hypothesis R_pos : forall a, In a L1 -> 0 < Rv a.
Hypothesis S_nonneg : forall b, 0 <= S b.
Hypothesis theta_nonneg : 0 <= theta.
Definition M1 t := sum L1 (fun a => v a * exp (- t * Rv a)).
Definition M2 t := sum L2 (fun b => w b * exp (- t * S b)).
Hypothesis M_le : forall t, 0 <= t -> M2 t <= exp (theta * ln (M1 t)).

Let K := 1 + INR c * theta.
Lemma K_pos : 1 <= K.
Proof. unfold K. pose proof (pos_INR c). nra. Qed.

Lemma M1_pos t : 0 < M1 t.
Proof.
  assert (Hn : forall a, In a L1 -> 0 <= v a * exp (- t * Rv a))
    by (intros; apply Rmult_le_pos; [apply v_nonneg|left; apply exp_pos]).
  destruct (sum_nonneg L1 _ Hn) as [H|H]; [exact H|exfalso].
  assert (sum L1 v = 0); [|lra]. rewrite <- (sum_0 L1). apply sum_ext; intros a Ha.
  pose proof (sum_nonneg_0 L1 _ Hn (eq_sym H) a Ha) as H0. simpl in H0.
  apply Rmult_integral in H0. destruct H0 as [H0|H0]; [exact H0|].
  pose proof (exp_pos (- t * Rv a)); lra.
Qed.

Lemma M2_nonneg t : 0 <= M2 t.
Proof. apply sum_nonneg; intros; apply Rmult_le_pos; [apply w_nonneg|left; apply exp_pos]. Qed.

Let m1 t := sum L1 (fun a => v a * (Rv a * exp (- t * Rv a))).   (* - M1' *)

Lemma M1_derive t : derivable_pt_lim M1 t (- m1 t).
Proof.
  replace (- m1 t) with (sum L1 (fun a => v a * (- (Rv a * exp (- t * Rv a))))).
  2:{ unfold m1. rewrite <- (Rmult_1_l (sum _ (fun a => v a * (Rv a * _)))).
      rewrite <- Ropp_mult_distr_l_reverse, <- sum_scal. apply sum_ext; intros; ring. }
  apply (sum_derive L1 (fun a t => v a * exp (- t * Rv a))
      (fun a t => v a * (- (Rv a * exp (- t * Rv a))))).
  intros a _. apply is_derive_Reals. auto_derive; [exact Logic.I|ring].
Qed.

Let Y a s := Rv a + sum s S.
Lemma Y_pos a s : In a L1 -> 0 < Y a s.
Proof.
  intros Ha. unfold Y. pose proof (R_pos a Ha).
  assert (0 <= sum s S) by (apply sum_nonneg; intros; apply S_nonneg). lra.
Qed.

Let D t := sum L1 (fun a => v a * E L2 w c (fun s => Rv a / Y a s * (1 - exp (- t * Y a s)))).
Let U t := (1 - exp (K * ln (M1 t))) / K.

Lemma D_derive t : derivable_pt_lim D t (m1 t * M2 t ^ c).
Proof.
  replace (m1 t * M2 t ^ c)
    with (sum L1 (fun a => v a * E L2 w c (fun s => Rv a * exp (- t * Y a s)))).
  2:{ unfold m1. rewrite <- sum_scal_r. apply sum_ext; intros a _.
      rewrite Rmult_assoc. f_equal. unfold M2. rewrite <- E_exp, <- E_scal.
      apply E_ext; intros s _. rewrite Rmult_assoc, <- exp_plus. unfold Y. do 2 f_equal. ring. }
  apply (sum_derive L1
    (fun a t => v a * E L2 w c (fun s => Rv a / Y a s * (1 - exp (- t * Y a s))))
    (fun a t => v a * E L2 w c (fun s => Rv a * exp (- t * Y a s)))).
  intros a Ha.
  apply (derivable_pt_lim_scal
    (fun t => E L2 w c (fun s => Rv a / Y a s * (1 - exp (- t * Y a s))))).
  apply (E_derive L2 w c (fun t s => Rv a / Y a s * (1 - exp (- t * Y a s)))
    (fun t s => Rv a * exp (- t * Y a s))).
  intros s _. pose proof (Y_pos a s Ha). apply is_derive_Reals.
  auto_derive; [exact Logic.I|]. field. lra.
Qed.

Lemma U_derive t : derivable_pt_lim U t (m1 t * exp (INR c * theta * ln (M1 t))).
Proof.
  pose proof K_pos. pose proof (M1_pos t) as HM.
  assert (H1 : derivable_pt_lim (fun t => ln (M1 t)) t (/ M1 t * - m1 t))
    by (apply (derivable_pt_lim_comp M1 ln); [apply M1_derive|apply derivable_pt_lim_ln, HM]).
  assert (H2 : derivable_pt_lim (fun x => (1 - exp (K * x)) / K) (ln (M1 t))
     (- exp (K * ln (M1 t)))).
  { apply is_derive_Reals. auto_derive; [exact Logic.I|]. field. lra. }
  pose proof (derivable_pt_lim_comp (fun t => ln (M1 t)) _ _ _ _ H1 H2) as H3.
  replace (m1 t * exp (INR c * theta * ln (M1 t)))
    with (- exp (K * ln (M1 t)) * (/ M1 t * - m1 t)); [exact H3|].
  replace (K * ln (M1 t)) with (ln (M1 t) + INR c * theta * ln (M1 t)) by (unfold K; ring).
  rewrite exp_plus, exp_ln by exact HM. field. lra.
Qed.

Lemma D_le t : 0 <= t -> D t <= / K.
Proof.
  intros [Ht|Ht].
  - destruct (MVT_cor2 (fun t => U t - D t)
      (fun t => m1 t * exp (INR c * theta * ln (M1 t)) - m1 t * M2 t ^ c) 0 t Ht)
      as [x [Hx Hxt]].
    { intros x _. apply (derivable_pt_lim_minus U D); [apply U_derive|apply D_derive]. }
    assert (H0 : U 0 - D 0 = 0).
    { assert (HM : M1 0 = 1).
      { unfold M1. rewrite <- v_sum. apply sum_ext; intros a _.
        replace (- 0 * Rv a) with 0 by ring. rewrite exp_0. ring. }
      unfold U. rewrite HM, ln_1, Rmult_0_r, exp_0.
      assert (HD : D 0 = 0); [|rewrite HD; unfold Rdiv; ring].
      unfold D. transitivity (sum L1 (fun _ => 0)); [|apply sum_0]. apply sum_ext; intros a _.
      rewrite (E_ext L2 w c _ (fun s => 0 * 0)).
      - rewrite E_scal. ring.
      - intros s _. cbv beta. replace (- 0 * Y a s) with 0 by ring. rewrite exp_0. ring. }
    assert (Hm : 0 <= m1 x).
    { apply sum_nonneg; intros a Ha. apply Rmult_le_pos; [apply v_nonneg|].
      apply Rmult_le_pos; [left; apply R_pos, Ha|left; apply exp_pos]. }
    assert (Hd : M2 x ^ c <= exp (INR c * theta * ln (M1 x))).
    { replace (exp (INR c * theta * ln (M1 x))) with (exp (theta * ln (M1 x)) ^ c).
      - apply pow_incr. split; [apply M2_nonneg|apply M_le; lra].
      - rewrite Rmult_assoc. clear. induction c as [|k IH].
        + simpl. rewrite Rmult_0_l, exp_0. reflexivity.
        + rewrite S_INR. simpl. rewrite IH, <- exp_plus. f_equal. ring. }
    assert (0 <= (m1 x * exp (INR c * theta * ln (M1 x)) - m1 x * M2 x ^ c) * (t - 0)).
    { apply Rmult_le_pos; [|lra].
      apply Rmult_le_compat_l with (r := m1 x) in Hd; [lra|exact Hm]. }
    assert (HU : U t <= / K).
    { unfold U, Rdiv. rewrite <- (Rmult_1_l (/ K)) at 2.
      apply Rmult_le_compat_r; [left; apply Rinv_0_lt_compat; pose proof K_pos; lra|].
      pose proof (exp_pos (K * ln (M1 t))). lra. }
    lra.
  - subst t. assert (HD : D 0 = 0).
    { unfold D. transitivity (sum L1 (fun _ => 0)); [|apply sum_0]. apply sum_ext; intros a _.
      rewrite (E_ext L2 w c _ (fun s => 0 * 0)).
      - rewrite E_scal. ring.
      - intros s _. cbv beta. replace (- 0 * Y a s) with 0 by ring. rewrite exp_0. ring. }
    rewrite HD. left. apply Rinv_0_lt_compat. pose proof K_pos; lra.
Qed.

Theorem core :
  sum L1 (fun a => v a * E L2 w c (fun s => Rv a / (Rv a + sum s S))) <= / (1 + INR c * theta).
Proof.
  fold K. set (V := sum L1 _).
  destruct (list_min L1 Rv R_pos) as [r [Hr Hmin]].
  assert (HD : forall t, 0 <= t -> (1 - exp (- t * r)) * V <= D t).
  { intros t Ht. unfold V, D. rewrite <- sum_scal. apply sum_le; intros a Ha.
    rewrite Rmult_comm, Rmult_assoc. apply Rmult_le_compat_l; [apply v_nonneg|].
    rewrite Rmult_comm, <- E_scal. apply E_le; [exact w_nonneg|]. intros s _.
    fold (Y a s). rewrite Rmult_comm. apply Rmult_le_compat_l.
    - left; apply Rdiv_lt_0_compat; [apply R_pos, Ha|apply Y_pos, Ha].
    - assert (exp (- t * Y a s) <= exp (- t * r)); [|lra].
      apply exp_le. assert (r <= Y a s).
      { unfold Y. pose proof (Hmin a Ha).
        assert (0 <= sum s S) by (apply sum_nonneg; intros; apply S_nonneg). lra. }
      nra. }
  assert (HK : 0 < / K) by (apply Rinv_0_lt_compat; pose proof K_pos; lra).
  destruct (Rle_lt_dec V (/ K)) as [H|H]; [exact H|exfalso].
  set (x := (/ K + 1) / (V - / K)).
  assert (Hx : 0 < x) by (apply Rdiv_lt_0_compat; lra).
  assert (Hxr : 0 <= x / r) by (left; apply Rdiv_lt_0_compat; assumption).
  pose proof (Rle_trans _ _ _ (HD _ Hxr) (D_le _ Hxr)) as H1.
  replace (- (x / r) * r) with (- x) in H1 by (field; lra).
  rewrite exp_Ropp in H1.
  assert (H2 : / exp x <= / (1 + x))
    by (apply Rinv_le_contravar; [lra|apply exp_ineq1_le]).
  assert (H3 : (1 - / (1 + x)) * V <= / K).
  { eapply Rle_trans; [|exact H1]. apply Rmult_le_compat_r; lra. }
  apply Rmult_le_compat_r with (r := 1 + x) in H3; [|lra].
  replace ((1 - / (1 + x)) * V * (1 + x)) with (x * V) in H3 by (field; lra).
  assert (H4 : x * (V - / K) = / K + 1)
    by (unfold x, Rdiv; rewrite Rmult_assoc, Rinv_l; lra).
  clearbody x V. generalize dependent (/ K). intros iK. intros. nra.
Qed.
End Core.

Section Shared.
Context {X Y : Type}.
Variables (xs : list X) (ys : list Y) (p : X -> Y -> R).
Hypothesis p_table : table xs ys p.
Notation px := (mutual_information.px ys p).
Notation py := (mutual_information.py xs p).
Notation cells := (mutual_information.cells xs ys).
Notation P := (mutual_information.P p).
Notation Q := (mutual_information.Q xs ys p).
Notation p_nonneg := (mutual_information.p_nonneg xs ys p p_table).
Notation p_sum := (mutual_information.p_sum xs ys p p_table).
Notation px_nonneg := (mutual_information.px_nonneg xs ys p p_table).
Notation py_nonneg := (mutual_information.py_nonneg xs ys p p_table).
Notation px_sum := (mutual_information.px_sum xs ys p p_table).
Notation py_sum := (mutual_information.py_sum xs ys p p_table).
Notation P_nonneg := (mutual_information.P_nonneg xs ys p p_table).
Notation Q_nonneg := (mutual_information.Q_nonneg xs ys p p_table).
Notation P_sum := (mutual_information.P_sum xs ys p p_table).
Notation Q_sum := (mutual_information.Q_sum xs ys p p_table).
Variable g : X -> Y -> R.
Hypothesis g_pos : critic g.
Notation Wr := (row_probability xs p).
Notation Wr_nonneg := (row_probability_nonneg xs ys p p_table).
Notation Wr_sum := (row_probability_sum xs ys p p_table).
Notation row := ((X * Y) * list Y)%type.
Notation rows := (ml_cpc.rows xs ys).
Notation gpos := (row_positive g).
Notation gneg := (row_negatives g).
Notation gneg_nonneg := (fun r => negatives_nonneg g r g_pos).

(** Laplace transforms of a row. *)
Definition phi (t : R) (x : X) : R := sum ys (fun y => py y * exp (- t * g x y)).

Lemma phi_pos t x : 0 < phi t x.
Proof.
  assert (Hn : forall y, In y ys -> 0 <= py y * exp (- t * g x y))
    by (intros; apply Rmult_le_pos; [apply py_nonneg; assumption|left; apply exp_pos]).
  destruct (sum_nonneg ys _ Hn) as [H|H]; [exact H|exfalso].
  pose proof (py_sum) as H1.
  assert (sum ys py = 0); [|lra]. rewrite <- (sum_0 ys). apply sum_ext; intros y Hy.
  pose proof (sum_nonneg_0 ys _ Hn (eq_sym H) y Hy) as H0. simpl in H0.
  apply Rmult_integral in H0. destruct H0 as [H0|H0]; [exact H0|].
  pose proof (exp_pos (- t * g x y)); lra.
Qed.

Lemma phi_tuple t x k : sum (tuples k ys) (fun s => tw py s * exp (- t * sum s (g x))) = phi t x ^ k.
Proof. rewrite <- E_tuples. apply E_exp. Qed.

Definition xtup (m : nat) : list (X * list Y) := list_prod xs (tuples m ys).
Definition vx (a : X * list Y) : R := px (fst a) * tw py (snd a).
Definition Rx (a : X * list Y) : R := sum (snd a) (g (fst a)).

Lemma M1_eq m t : M1 (xtup m) vx Rx t = sum xs (fun x => px x * phi t x ^ m).
Proof.
  unfold M1, xtup. rewrite sum_prod. apply sum_ext; intros x _.
  rewrite <- phi_tuple, <- sum_scal. apply sum_ext; intros s _. unfold vx, Rx; simpl. ring.
Qed.

Lemma M2_eq k t : M2 (rows k) Wr gneg t = sum xs (fun x => px x * phi t x ^ k).
Proof.
  unfold M2, ml_cpc.rows. rewrite sum_prod. unfold mutual_information.cells. rewrite sum_prod.
  apply sum_ext; intros x _. unfold mutual_information.px at 1. rewrite <- sum_scal_r.
  apply sum_ext; intros y _. rewrite <- phi_tuple, <- sum_scal.
  apply sum_ext; intros s _. unfold row_probability, row_negatives, mutual_information.P; simpl.
  change (∑ y' ∈ s, g x y') with (sum s (g x)). ring.
Qed.

(** Power means. *)
Lemma M_le k t : M2 (rows k) Wr gneg t
  <= exp (INR k / INR (k + 1) * ln (M1 (xtup (k + 1)) vx Rx t)).
Proof.
  assert (Hk : 0 < INR (k + 1)) by (apply lt_0_INR; lia).
  assert (Hkk : INR (k + 1) = INR k + 1) by (rewrite plus_INR; reflexivity).
  pose proof (pos_INR k) as Hk0.
  set (theta := INR k / INR (k + 1)).
  assert (Hth : 0 <= theta <= 1).
  { split; [apply Rmult_le_pos; [exact Hk0|left; apply Rinv_0_lt_compat, Hk]|].
    apply Rmult_le_reg_r with (INR (k + 1)); [exact Hk|].
    unfold theta, Rdiv. rewrite Rmult_assoc, Rinv_l; lra. }
  rewrite M2_eq. set (M := M1 (xtup (k + 1)) vx Rx t).
  assert (HM : 0 < M).
  { unfold M. rewrite M1_eq.
    assert (Hn : forall x, In x xs -> 0 <= px x * phi t x ^ (k + 1)).
    { intros x _. apply Rmult_le_pos; [apply px_nonneg; assumption|].
      left; apply pow_lt, phi_pos. }
    destruct (sum_nonneg xs _ Hn) as [H|H]; [exact H|exfalso].
    pose proof (px_sum) as H1.
    assert (sum xs px = 0); [|lra]. rewrite <- (sum_0 xs). apply sum_ext; intros x Hx.
    pose proof (sum_nonneg_0 xs _ Hn (eq_sym H) x Hx) as H0. simpl in H0.
    apply Rmult_integral in H0. destruct H0 as [H0|H0]; [exact H0|].
    pose proof (pow_lt _ (k + 1) (phi_pos t x)); lra. }
  apply Rle_trans with (sum xs (fun x => exp (theta * ln M) *
     ((1 - theta) * px x + theta / M * (px x * phi t x ^ (k + 1))))).
  - apply sum_le; intros x _.
    pose proof (phi_pos t x) as Hp. pose proof (pow_lt _ (k + 1) Hp) as Hpm.
    assert (HpM : 0 < phi t x ^ (k + 1) / M) by (apply Rdiv_lt_0_compat; assumption).
    pose proof (young theta 0 _ Hth HpM) as Hy.
    rewrite Rmult_0_r, Rplus_0_l, exp_0, Rmult_1_r in Hy.
    replace (exp (theta * ln M) * ((1 - theta) * px x + theta / M * (px x * phi t x ^ (k + 1))))
      with (px x * (exp (theta * ln M) * ((1 - theta) + theta * (phi t x ^ (k + 1) / M))))
      by (field; lra).
    apply Rmult_le_compat_l; [apply px_nonneg; assumption|].
    apply Rle_trans with (exp (theta * ln M) * exp (theta * ln (phi t x ^ (k + 1) / M)));
      [|apply Rmult_le_compat_l; [left; apply exp_pos|exact Hy]].
    rewrite <- exp_plus. right. rewrite pow_exp by exact Hp. f_equal.
    rewrite ln_div', pow_exp, ln_exp by assumption. unfold theta. field. lra.
  - rewrite sum_scal, sum_plus, !sum_scal, <- M1_eq. fold M.
    rewrite (px_sum).
    replace ((1 - theta) * 1 + theta / M * M) with 1 by (field; lra). lra.
Qed.

(** `lem-shared-anchor`: the mean share of the replaced positive is at most 1/N. *)
Lemma share_shared k c :
  sum cells (fun z => Q z * sum (tuples k ys) (fun neg => tw py neg *
    E (rows k) Wr c (fun t => g (fst z) (snd z) /
       (g (fst z) (snd z) + sum neg (g (fst z)) + sum t gneg))))
  <= / (INR (k + 1) + INR c * INR k).
Proof.
  assert (Hk : 0 < INR (k + 1)) by (apply lt_0_INR; lia).
  pose proof (pos_INR k) as Hk0. pose proof (pos_INR c) as Hc0.
  assert (Hcore := core (xtup (k+1)) vx Rx (rows k) Wr gneg c (INR k / INR (k+1))).
  assert (H := Hcore
    ltac:(intros a; apply Rmult_le_pos; [apply px_nonneg; assumption|
             apply tw_nonneg, py_nonneg; assumption])
    ltac:(unfold xtup, vx; rewrite sum_prod; simpl;
          rewrite (sum_ext xs _ px);
          [apply px_sum; assumption
          |intros x _; rewrite sum_scal, tw_sum by (apply py_sum; assumption); ring])
    Wr_nonneg
    ltac:(intros [x s] Hin; unfold xtup in Hin; apply in_prod_iff in Hin; destruct Hin as [_ Hs];
          apply tuples_length in Hs; unfold Rx; simpl;
          destruct s as [|y s]; [simpl in Hs; lia|]; simpl;
          pose proof (g_pos x y);
          assert (0 <= sum s (g x)) by (apply sum_nonneg; intros; left; apply g_pos); lra)
    gneg_nonneg
    ltac:(apply Rmult_le_pos; [exact Hk0|left; apply Rinv_0_lt_compat, Hk])
    (fun t _ => M_le k t)). clear Hcore.
  replace (/ (INR (k + 1) + INR c * INR k))
    with (/ INR (k + 1) * / (1 + INR c * (INR k / INR (k + 1)))).
  2:{ field. assert (0 <= INR c * INR k) by (apply Rmult_le_pos; assumption). split; lra. }
  eapply Rle_trans; [|apply Rmult_le_compat_l; [left; apply Rinv_0_lt_compat, Hk|exact H]].
  right. clear H. unfold xtup. rewrite sum_prod. unfold mutual_information.cells. rewrite sum_prod.
  rewrite <- sum_scal. apply sum_ext; intros x _.
  (* exchangeability inside the row of x *)
  set (f := fun (y : Y) (Sg : R) => E (rows k) Wr c (fun t => g x y / (Sg + sum t gneg))).
  pose proof (E_exch ys py (g x) k f 0) as Hex.
  unfold mutual_information.Q; simpl fst; simpl snd.
  transitivity (px x * sum ys (fun y => py y * E ys py k (fun t => f y (0 + g x y + sum t (g x))))).
  - rewrite <- sum_scal. apply sum_ext; intros y _. rewrite E_tuples.
    rewrite Rmult_assoc. do 2 f_equal. apply sum_ext; intros neg _. f_equal.
    unfold f. apply E_ext; intros t _. do 3 f_equal. ring.
  - replace (sum ys (fun y => py y * E ys py k (fun t => f y (0 + g x y + sum t (g x)))))
      with (/ INR (S k) * E ys py (S k) (fun t => sum t (fun a => f a (0 + sum t (g x)))))
      by (rewrite Hex; field; apply not_0_INR; lia).
    replace (S k) with (k + 1)%nat by lia.
    rewrite E_tuples, <- !sum_scal. apply sum_ext; intros s _.
    unfold vx, Rx; simpl fst; simpl snd.
    assert (HE : sum s (fun a => f a (0 + sum s (g x))) = E (rows k) Wr c (fun t =>
      sum s (g x) / (sum s (g x) + sum t gneg))); [|rewrite HE; ring].
    unfold f. rewrite <- E_sum.
    apply E_ext; intros t _. rewrite Rplus_0_l.
    unfold Rdiv. rewrite sum_scal_r. reflexivity.
Qed.

(** `thm-ml-cpc`, shared anchors. *)
Theorem shared_valid n m alpha : (1 <= n)%nat -> (2 <= m)%nat ->
  alpha_min n m <= alpha <= INR m -> MLCPC_shared xs ys p n m alpha g <= I xs ys p.
Proof.
  intros Hn Hm [Ha Ham].
  assert (Hn0 : 1 <= INR n) by (apply (le_INR 1), Hn).
  assert (Hm0 : 2 <= INR m) by (apply (le_INR 2), Hm).
  pose proof (beta_nonneg m alpha Hm Ham) as Hb.
  destruct (heavy_positive n m alpha Hn Hm Ham) as [HW Hheavy].
  assert (Ha0 : 0 < alpha) by (pose proof (alpha_min_pos n m Hn Hm); lra).
  assert (Han : 0 < alpha * INR n) by (apply Rmult_lt_0_compat; lra).
  assert (Hba : beta m alpha <= alpha * INR n) by (apply Hheavy, Ha).
  destruct n as [|c]; [lia|]. set (k := (m - 1)%nat) in *.
  set (kk := (S c * k)%nat) in *.
  set (b := beta m alpha) in *. set (a1 := alpha * INR (S c)) in *.
  set (W := INR (S c) * INR m) in *.
  assert (HWp : 0 < W) by (unfold W; apply Rmult_lt_0_compat; lra).
  assert (HN : INR (kk + 1) = INR (k + 1) + INR c * INR k).
  { unfold kk. rewrite !plus_INR, mult_INR, S_INR. simpl. ring. }
  assert (HNp : 0 < INR (kk + 1)) by (apply lt_0_INR; lia).
  set (G := fun (r : row) (o : R) => ln (W * gpos r / (a1 * gpos r + b * o))).
  set (T := fun z => sum (tuples k ys) (fun neg => tw py neg *
     E (rows k) Wr c (fun t => G (z, neg) (0 + gneg (z, neg) + sum t gneg)))).
  apply Rle_trans with (sum cells (fun z => P z * T z)).
  - (* split, then exchangeability of the anchors *)
    apply Rle_trans with (E (rows k) Wr (S c) (fun t => / INR (S c) *
       sum t (fun r => G r (0 + sum t gneg)))).
    + apply E_le; [exact Wr_nonneg|]. intros t Ht. fold k. fold b. fold W.
      apply Rmult_le_compat_l; [left; apply Rinv_0_lt_compat; lra|].
      unfold G. rewrite Rplus_0_l. unfold a1.
      apply (split_log gpos); auto.
      * intros r; apply g_pos.
      * apply Rmult_le_pos; [exact Hb|apply sum_nonneg; intros; apply gneg_nonneg].
    + rewrite E_scal, E_exch, <- Rmult_assoc, Rinv_l, Rmult_1_l by lra.
      unfold ml_cpc.rows at 1. rewrite sum_prod. right. apply sum_ext; intros z _.
      unfold T. rewrite <- sum_scal. apply sum_ext; intros neg _.
      unfold row_probability at 1; simpl fst; simpl snd. ring.
  - apply (variational_table xs ys p p_table T).
    set (s := fun (z : X * Y) (neg : list Y) (t : list row) => g (fst z) (snd z) /
       (g (fst z) (snd z) + sum neg (g (fst z)) + sum t gneg)).
    set (N := INR (kk + 1)) in *.
    (* tangent line of the share *)
    assert (Htan : forall z neg t,
      exp (G (z, neg) (0 + gneg (z, neg) + sum t gneg))
      <= (1 - N * b / W) + N * b / W * N * s z neg t).
    { intros [x y] neg t. unfold G, s.
      change (gpos (x, y, neg)) with (g x y). change (gneg (x, y, neg)) with (sum neg (g x)).
      simpl fst; simpl snd.
      assert (Hs1 : 0 <= sum neg (g x)) by (apply sum_nonneg; intros; left; apply g_pos).
      assert (Hs2 : 0 <= sum t gneg) by (apply sum_nonneg; intros; apply gneg_nonneg).
      pose proof (g_pos x y) as Hg. set (o := sum neg (g x) + sum t gneg).
      pose proof (tangent kk a1 b Hb Hba Han (g x y) (g x y + o) Hg
        ltac:(unfold o; lra)) as Ht.
      rewrite HW in Ht. fold N in Ht.
      replace (g x y + o - g x y) with o in Ht by ring.
      assert (0 < a1 * g x y + b * o).
      { assert (0 < a1 * g x y) by (apply Rmult_lt_0_compat; assumption).
        assert (0 <= b * o) by (apply Rmult_le_pos; [exact Hb|unfold o; lra]). lra. }
      replace (0 + sum neg (g x) + sum t gneg) with o by (unfold o; ring).
      rewrite exp_ln by (apply Rdiv_lt_0_compat; [apply Rmult_lt_0_compat|]; assumption).
      eapply Rle_trans; [exact Ht|]. right.
      replace (g x y + sum neg (g x) + sum t gneg) with (g x y + o) by (unfold o; ring).
      field. unfold o. split; lra. }
    assert (HT : forall z, exp (T z) <= (1 - N * b / W) + N * b / W * N *
       sum (tuples k ys) (fun neg => tw py neg * E (rows k) Wr c (s z neg))).
    { intros z. unfold T.
      assert (Htw : sum (tuples k ys) (tw py) = 1) by (apply tw_sum, py_sum; assumption).
      eapply Rle_trans.
      { apply exp_jensen; [intros; apply tw_nonneg, py_nonneg; assumption|exact Htw]. }
      apply Rle_trans with (sum (tuples k ys) (fun neg =>
         tw py neg * (1 - N * b / W) +
         N * b / W * N * (tw py neg * E (rows k) Wr c (s z neg)))).
      - apply sum_le; intros neg _.
        replace (tw py neg * (1 - N * b / W) +
           N * b / W * N * (tw py neg * E (rows k) Wr c (s z neg)))
          with (tw py neg * ((1 - N * b / W) + N * b / W * N * E (rows k) Wr c (s z neg)))
          by ring.
        apply Rmult_le_compat_l; [apply tw_nonneg, py_nonneg; assumption|].
        eapply Rle_trans; [apply E_jensen; [exact Wr_nonneg|apply Wr_sum]|].
        rewrite <- (E_const (rows k) Wr (Wr_sum k) c (1 - N * b / W)).
        rewrite <- E_scal, <- E_plus. apply E_le; [exact Wr_nonneg|].
        intros t _. apply Htan.
      - rewrite sum_plus, sum_scal, sum_scal_r, Htw. lra. }
    apply Rle_trans with (sum cells (fun z => Q z * (1 - N * b / W) + N * b / W * N *
       (Q z * sum (tuples k ys) (fun neg => tw py neg * E (rows k) Wr c (s z neg))))).
    { apply sum_le; intros z _.
      replace (Q z * (1 - N * b / W) + N * b / W * N *
        (Q z * sum (tuples k ys) (fun neg => tw py neg * E (rows k) Wr c (s z neg))))
        with (Q z * ((1 - N * b / W) + N * b / W * N *
          sum (tuples k ys) (fun neg => tw py neg * E (rows k) Wr c (s z neg)))) by ring.
      apply Rmult_le_compat_l; [apply Q_nonneg; assumption|apply HT]. }
    rewrite sum_plus, sum_scal, sum_scal_r, Q_sum.
    pose proof (share_shared k c) as HS. rewrite <- HN in HS. fold N in HS.
    assert (HC : 0 <= N * b / W * N).
    { apply Rmult_le_pos; [|lra]. apply Rmult_le_pos; [apply Rmult_le_pos; lra|].
      left; apply Rinv_0_lt_compat, HWp. }
    apply Rmult_le_compat_l with (r := N * b / W * N) in HS; [|exact HC].
    replace (N * b / W * N * / N) with (N * b / W) in HS by (field; lra).
    unfold s. lra.
Qed.
End Shared.

Theorem MLCPC_shared_valid {X Y} (xs : list X) (ys : list Y) p n m alpha g : table xs ys p ->
  (1 <= n)%nat -> (2 <= m)%nat -> alpha_min n m <= alpha <= INR m -> critic g ->
  MLCPC_shared xs ys p n m alpha g <= I xs ys p.
Proof. intros Hp Hn Hm Ha Hg. apply shared_valid; assumption. Qed.

(** `cor-ceiling`: at the smallest weight, the cap is the logarithm of all [n (m - 1) + 1]. *)
Corollary MLCPC_best {X Y} (xs : list X) (ys : list Y) p n m g : table xs ys p ->
  (1 <= n)%nat -> (2 <= m)%nat -> critic g ->
  MLCPC_shared xs ys p n m (alpha_min n m) g
  <= Rmin (I xs ys p) (ln (INR n * (INR m - 1) + 1)).
Proof.
  intros Hp Hn Hm Hg. pose proof (alpha_min_pos n m Hn Hm) as H0.
  assert (Hn0 : 1 <= INR n) by (apply (le_INR 1), Hn).
  assert (Hm0 : 2 <= INR m) by (apply (le_INR 2), Hm).
  assert (HD : 1 <= INR n * (INR m - 1) + 1) by nra.
  assert (H1 : alpha_min n m <= INR m).
  { unfold alpha_min. apply Rmult_le_reg_r with (INR n * (INR m - 1) + 1); [lra|].
    unfold Rdiv. rewrite Rmult_assoc, Rinv_l by lra. nra. }
  apply Rmin_glb; [apply MLCPC_shared_valid; try assumption; lra|].
  replace (INR n * (INR m - 1) + 1) with (INR m / alpha_min n m) by (unfold alpha_min; field; lra).
  apply MLCPC_shared_cap; try assumption. lra.
Qed.

(** ## Negatives from the batch *)

(** `prp-in-batch`, for every weight that one positive may have: J <= L <= I. *)
Theorem valid_batch {X Y} (xs : list X) (ys : list Y) p n alpha g : table xs ys p ->
  valid n alpha -> (2 <= n)%nat -> 0 < alpha <= INR n -> critic g ->
  MLCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros Hp HV Hn Ha Hg. eapply Rle_trans; [apply J_le_L_batch; assumption|].
  apply valid_CPC_batch; assumption.
Qed.

(** `prp-in-batch` *)
Theorem MLCPC_batch_valid {X Y} (xs : list X) (ys : list Y) p n alpha g : table xs ys p ->
  (2 <= n)%nat -> 1 <= alpha <= INR n -> critic g ->
  MLCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros Hp Hn Ha Hg. apply valid_batch; try assumption; [apply valid_ge_1; assumption|lra].
Qed.

(** ## Known values *)

(** The theorem applies to the copied bit, where I = ln 2. *)
Example copy_bound n m alpha g : (1 <= n)%nat -> (2 <= m)%nat ->
  alpha_min n m <= alpha <= INR m -> critic g -> MLCPC_shared bit bit copy n m alpha g <= ln 2.
Proof. intros. rewrite <- copy_I. apply MLCPC_shared_valid; auto. exact copy_table. Qed.

(** Two anchors in a batch, the copied bit, and a critic that weighs a match [g] times as much:
both letters are equal or not, each with probability one half. *)
Lemma batch_copy g alpha : 0 < g -> 0 < alpha <= 2 ->
  MLCPC_batch bit bit copy 2 alpha (fun x y => if Bool.eqb x y then g else 1)
  = / 2 * ln (2 * g / (alpha * g + (2 - alpha))).
Proof.
  intros Hg Ha. unfold MLCPC_batch, P, copy, on, beta; simpl.
  replace (1 + 1) with 2 by ring.
  replace ((2 - alpha) / (2 - 1)) with (2 - alpha) by field.
  replace (2 * 2 * g / (alpha * (g + (g + 0)) + (2 - alpha) * (g + (g + 0) - g + (g + (g + 0) - g + 0))))
    with 1 by (field; nra).
  replace (2 * 2 * g / (alpha * (g + (g + 0)) + (2 - alpha) * (g + (1 + 0) - g + (1 + (g + 0) - g + 0))))
    with (2 * g / (alpha * g + (2 - alpha))) by (field; nra).
  rewrite ln_1. field.
Qed.

(** ## False twins *)

(** Half of the smallest weight is not enough: [n = 1] and [m = 2] is CPC with [alpha = 1/2]. *)
Theorem MLCPC_shared_twin : ~ forall (X Y : Type) (xs : list X) (ys : list Y) p n m alpha g,
  table xs ys p -> (1 <= n)%nat -> (2 <= m)%nat -> / 2 * alpha_min n m <= alpha <= INR m ->
  critic g -> MLCPC_shared xs ys p n m alpha g <= I xs ys p.
Proof.
  intros HF. specialize (HF _ _ _ _ _ 1%nat 2%nat (/ 2) _ agree_table ltac:(lia) ltac:(lia)
    ltac:(rewrite alpha_min_1 by lia; simpl; lra) five_critic).
  rewrite shared_1_is_CPC in HF. pose proof alphaCPC_below_one as H.
  assert (0 < ln (10/9)) by (rewrite <- ln_1; apply ln_increasing; lra). lra.
Qed.

(** The cap holds for the mean, not for each term: with the values 3 and 1 of two positives and
negatives that add 1/2, the first term exceeds [ln (m / alpha) = ln 2]. *)
Theorem board_cap_twin : ~ forall (board : list bool) (u : bool -> R) a c K, (1 <= length board)%nat ->
  (forall i, 0 < u i) -> 0 < a -> 0 <= c -> 0 < K ->
  forall i, In i board -> ln (K * u i / (a * sum board u + c)) <= ln (K / (INR (length board) * a)).
Proof.
  intros HF. specialize (HF bit (fun b => if b then 3 else 1) 1 (/2) 4 ltac:(simpl; lia)
    ltac:(intros [|]; lra) ltac:(lra) ltac:(lra) ltac:(lra) true (or_introl eq_refl)).
  simpl in HF. assert (ln (4 / ((1 + 1) * 1)) < ln (4 * 3 / (1 * (3 + (1 + 0)) + / 2))); [|lra].
  apply ln_increasing; lra.
Qed.

(** In the batch, half of the smallest weight of two anchors: 1/3 is too small for the copied bit. *)
Theorem MLCPC_batch_twin : ~ forall (X Y : Type) (xs : list X) (ys : list Y) p n alpha g,
  table xs ys p -> (2 <= n)%nat -> / 2 * alpha_min n n <= alpha <= INR n -> critic g ->
  MLCPC_batch xs ys p n alpha g <= I xs ys p.
Proof.
  intros HF. specialize (HF _ _ _ _ _ 2%nat (1/3) (fun x y => if Bool.eqb x y then 100 else 1)
    copy_table ltac:(lia) ltac:(unfold alpha_min; simpl; lra) ltac:(intros [|] [|]; simpl; lra)).
  rewrite batch_copy, copy_I in HF by lra.
  assert (2 * ln 2 < ln (2 * 100 / (1 / 3 * 100 + (2 - 1 / 3)))); [|lra].
  replace (2 * ln 2) with (ln 2 + ln 2) by ring. rewrite <- ln_mult by lra.
  apply ln_increasing; lra.
Qed.
